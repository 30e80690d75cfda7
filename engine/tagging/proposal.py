"""One text on its way through decoding: its guide, its draft, and the decisions that the next pass must settle.

Holds no torch. The decoder feeds `feed` to the model and reports the outcome of each decision. A Proposal keeps the
answer, the scores, and the next draft.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .drafter import Evidence
from .guide import Guide, LabelTrie, Phase, State, TokenSpan
from .prompt import SourceTokens
from .tags import TagFormat

COPY_DRAFT = 16
"""How many source tokens are drafted as plain copies where there is no drafter."""


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
    """Drafts and accepts for one source, `most` tokens at once. None is the reference: one token at a time.

    `answer` holds the decided tokens and, behind them, the drafted ones; the guide stands at its end. `copied` counts
    source tokens for each. The model has read the first `read` of them. Between rounds, `feed` is what it should read
    next and `choices` what it must settle by that. `drafted` tokens were fed so far; `accepted` of them were kept.
    """

    def __init__(
        self, source: SourceTokens, trie: LabelTrie, tags: TagFormat, evidence: Evidence | None, *, most: int | None
    ) -> None:
        self.source = source
        self.guide = Guide(source.ids, source.borders, trie, tags)
        self.answer: list[int] = []
        self.copied: list[int] = []
        self.choices: list[Choice] = []
        self.read = 0
        self.rounds = 0
        self.drafted = self.accepted = 0
        self._evidence, self._most = evidence, most
        self._opinions: dict[tuple[Phase, int, int, int], int] = {}
        self._propose = self._propose_step if most is None else self._propose_draft
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
        """Letter cases of answer tokens [start, end)."""
        return self.source.copied_cases(self.copied[start:end], self.copied[start - 1] if start else 0)

    def settle(self, chosen: Sequence[int], log_probabilities: Sequence[float]) -> int:
        """Take the outcome of `choices`, in order: index into `allowed`, its log-probability.

        Accepts the draft up to the first disagreement, takes the choice there, and drafts anew. Returns how many of
        the fed tokens stand.
        """
        fed = standing = len(self.feed)
        outcomes = zip(self.choices, chosen, log_probabilities, strict=True)
        for choice, index, log_probability in outcomes:
            self._decided[self.read + choice.after] = log_probability
            if index != choice.drafted:
                standing = choice.after
                self._repair(self.read + standing, choice.allowed[index])
                break
        self._opinions.update((_place(choice.state), index) for choice, index, _ in outcomes)
        self.read += standing
        self.rounds += 1
        self.drafted, self.accepted = self.drafted + fed, self.accepted + standing
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
        """The reference: one token in each round, also a forced one."""
        self.choices = []
        allowed = self.guide.allowed()
        if len(self.answer) == self.read and len(allowed) == 1:
            self._advance(allowed[0])
            allowed = self.guide.allowed()
        if len(allowed) > 1:
            self.choices = [self._choice(allowed)]

    def _propose_draft(self) -> None:
        """Extend the answer by forced and drafted tokens and note each decision, until there is no draft."""
        self.choices = []
        while not self.guide.is_finished:
            allowed = self.guide.allowed()
            if len(allowed) == 1:
                self._advance(allowed[0])
                continue
            choice = self._choice(allowed)
            self.choices.append(choice)
            if choice.drafted is None:
                break
            self._advance(allowed[choice.drafted])

    def _choice(self, allowed: tuple[int, ...]) -> Choice:
        after, state = len(self.answer) - self.read, self.guide.state
        bias = self._evidence.bias(state, allowed) if self._evidence else [0.0] * len(allowed)
        return Choice(after, state, allowed, tuple(bias), self._drafted(state, after, bias))

    def _drafted(self, state: State, after: int, bias: Sequence[float]) -> int | None:
        """What the model is likely to choose: its own choice of an earlier round, else what the evidence says.

        A pass over a rejected draft also took the decisions behind the first wrong token. They do not count, because
        they follow a wrong token. But of 100 of them 99 come out the same again (of labels 94). Of 100 choices of the
        drafter the model makes 98 too on copying or opening, 95 on closing and 76 on labels.
        """
        if self._most is None or after >= self._most:
            return None
        opinion = self._opinions.get(_place(state))
        if opinion is not None:
            return opinion
        if self._evidence is not None:
            return bias.index(max(bias))
        return 0 if state.phase is not Phase.LABEL and after < COPY_DRAFT else None


def _place(state: State) -> tuple[Phase, int, int, int]:
    return state.phase, state.copied, state.start, id(state.node)
