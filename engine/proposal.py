"""One text on its way through decoding: its guide, its draft, and the decisions that the next pass must settle.

Holds no torch. The decoder feeds `feed` to the model and tells the outcome of each decision; this object keeps the
answer, the scores, and what is drafted next.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .drafter import Evidence
from .guide import Guide, LabelTrie, Mode, State, TokenSpan
from .prompt import Source
from .tags import TagFormat

COPY_DRAFT = 16
"""Source tokens drafted as plain copies where no drafter proposes anything."""

REDRAFT = 24
"""Tokens drafted at once after a disagreement: where one decision went against the draft, the next is likely near.

Time of the freight example as a multiple of one teacher-forced pass: 1.80 with 24, 1.93 with 64, 2.08 without a limit.
"""


@dataclass(frozen=True, slots=True)
class Choice:
    """A decision: `after` fed tokens (0: before the first), the legal tokens, the evidence, and the drafted choice.

    `drafted` is an index into `allowed`, or None where nothing was drafted.
    """

    after: int
    state: State
    allowed: tuple[int, ...]
    bias: tuple[float, ...]
    drafted: int | None


class Proposal:
    """Drafting and accepting for one source.

    `answer` holds the decided tokens and, behind them, the drafted ones; the guide stands at its end. `copied` counts
    source tokens for each. The model has read the first `read` of them. Between rounds, `feed` is what it should read
    next and `choices` what it must settle by that.
    """

    def __init__(
        self, source: Source, trie: LabelTrie, tags: TagFormat, evidence: Evidence | None, *, drafts: bool
    ) -> None:
        self.source = source
        self.guide = Guide(source.ids, source.borders, trie, tags)
        self.answer: list[int] = []
        self.copied: list[int] = []
        self.choices: list[Choice] = []
        self.read = 0
        self.rounds = 0
        self._trie, self._tags, self._evidence = trie, tags, evidence
        self._propose = self._propose_draft if drafts else self._propose_step
        self._decided: dict[int, float] = {}
        self._propose()

    @property
    def is_finished(self) -> bool:
        return not self.choices and self.guide.is_finished

    @property
    def feed(self) -> list[int]:
        """Unread tokens up to the last one that a choice depends on."""
        end = self.read + self.choices[-1].after if self.choices else len(self.answer)
        return self.answer[self.read : end]

    def cases(self, start: int, end: int) -> list[int]:
        """Letter cases of answer tokens [start, end): a copy has its source token's, a marker none."""
        before = self.copied[start - 1] if start else 0
        cases = []
        for count in self.copied[start:end]:
            cases.append(self.source.cases[count - 1] if count > before else 0)
            before = count
        return cases

    def settle(self, chosen: Sequence[int], log_probabilities: Sequence[float]) -> int:
        """Take the outcome of `choices`, in order: index into `allowed`, its log-probability.

        Accepts the draft up to the first disagreement, takes the choice there, and drafts anew. Returns how many of
        the fed tokens stand.
        """
        standing = len(self.feed)
        for choice, index, log_probability in zip(self.choices, chosen, log_probabilities, strict=True):
            self._decided[self.read + choice.after] = log_probability
            if index != choice.drafted:
                standing = choice.after
                self._repair(self.read + standing, choice.allowed[index])
                break
        self.read += standing
        self.rounds += 1
        self._propose()
        return standing

    def spans(self) -> list[tuple[TokenSpan, float]]:
        """The mentions with their scores: open x label x close, forced steps counting 1."""
        return [
            (span, math.exp(sum(self._decided.get(step, 0.0) for step in steps)))
            for span, steps in self.guide.mentions()
        ]

    def _repair(self, keep: int, token: int) -> None:
        self.guide.rollback(len(self.answer) - keep)
        del self.answer[keep:], self.copied[keep:]
        self._advance(token)

    def _advance(self, token: int) -> None:
        self.guide.advance(token)
        self.answer.append(token)
        self.copied.append(self.guide.state.copied)

    def _propose_step(self) -> None:
        """The reference: one token a round, forced ones too."""
        self.choices = []
        allowed = self.guide.allowed()
        if len(self.answer) == self.read and len(allowed) == 1:
            self._advance(allowed[0])
            allowed = self.guide.allowed()
        if len(allowed) > 1:
            self.choices = [self._choice(allowed, None)]

    def _propose_draft(self) -> None:
        """Extend the answer by forced and drafted tokens, noting each decision, until the draft has nothing to say."""
        self.choices = []
        draft: Iterator[int] = iter(self._draft())
        while not self.guide.is_finished:
            allowed = self.guide.allowed()
            token = next(draft, None)
            if len(allowed) == 1:
                if token != allowed[0]:
                    draft = iter(())
                self._advance(allowed[0])
                continue
            is_far = self.rounds > 0 and len(self.answer) - self.read >= REDRAFT
            drafted = allowed.index(token) if token in allowed and not is_far else None
            self.choices.append(self._choice(allowed, drafted))
            if drafted is None:
                break
            self._advance(allowed[drafted])

    def _choice(self, allowed: tuple[int, ...], drafted: int | None) -> Choice:
        after, state = len(self.answer) - self.read, self.guide.state
        bias = self._evidence.bias(state, allowed) if self._evidence else [0.0] * len(allowed)
        return Choice(after, state, allowed, tuple(bias), drafted)

    def _draft(self) -> list[int]:
        """The rest of the tagged output as the evidence has it, or some plain copies, from the guide's state on."""
        state, source = self.guide.state, self.source.ids
        if self._evidence is None:
            return list(source[state.copied : state.copied + COPY_DRAFT])
        spans = self._evidence.draft(self.source.borders, state)
        tokens: list[int] = []
        done = state.copied
        if state.mode is not Mode.OUTSIDE:
            spans, (_, end, label) = spans[1:], spans[0]
            tokens, done = self._rest_of_mention(state, end, label), end
        for start, end, label in spans:
            tokens += [
                *source[done:start],
                self._tags.open,
                *source[start:end],
                self._tags.bar,
                *self._trie.paths[label],
            ]
            done = end
        return [*tokens, *source[done:]]

    def _rest_of_mention(self, state: State, end: int, label: int) -> list[int]:
        if state.mode is Mode.INSIDE:
            return [*self.source.ids[state.copied : end], self._tags.bar, *self._trie.paths[label]]
        assert state.node is not None
        node, path = state.node, self._trie.paths[label]
        if label not in node.labels:
            path = self._trie.paths[node.labels[0]]
        depth = 0
        reached = self._trie.root
        while reached is not node:
            reached, depth = reached.children[path[depth]], depth + 1
        return list(path[depth:])
