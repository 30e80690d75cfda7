"""What may come next: the copy-or-tag automaton over token ids. Holds no torch and no text.

At every step the legal tokens are the next source token or a marker. Three kinds of step are decisions:

    OUTSIDE   copy | OPEN        only at a word border
    INSIDE    copy | BAR         only at a word border, and not before the mention has a token
    LABEL     next piece of a label name that is still possible, or CLOSE where a name is complete

Everything else is forced. A source token whose id equals the marker that would be legal beside it is copied: a
mention cannot begin at a literal opening marker nor end before a literal bar. So the source is always recovered, and
spans come from the automaton's states, never from searching the output.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from typing import NamedTuple

from ..errors import InputError
from .tags import TagFormat


class Phase(Enum):
    """What the automaton is writing: text outside mentions, text inside one, or the label of one."""

    OUTSIDE = "outside"
    INSIDE = "inside"
    LABEL = "label"


@dataclass(slots=True)
class Node:
    """A place in the label trie. `labels` are the indices of the labels still possible here."""

    children: dict[int, "Node"] = field(default_factory=dict)
    labels: list[int] = field(default_factory=list)


class LabelTrie:
    """Label names as token sequences ending in CLOSE; a name may be a prefix of another.

    Raises InputError when a name is empty to the tokenizer, contains CLOSE, or reads like another one.
    """

    def __init__(self, names: Sequence[str], pieces: Sequence[Sequence[int]], close: int) -> None:
        self.root = Node()
        self.paths: list[tuple[int, ...]] = []
        seen: dict[tuple[int, ...], str] = {}
        for index, (name, ids) in enumerate(zip(names, pieces, strict=True)):
            path = (*ids, close)
            if not ids or close in ids:
                raise InputError(f"label {name!r} cannot be written in this base's vocabulary: rename it")
            if path in seen:
                raise InputError(f"labels {seen[path]!r} and {name!r} read alike to this base: rename one of them")
            seen[path] = name
            self.paths.append(path)
            node = self.root
            node.labels.append(index)
            for token in path:
                node = node.children.setdefault(token, Node())
                node.labels.append(index)


class State(NamedTuple):
    """Where the automaton stands: `copied` source tokens done, the open mention from `start`, `node` in the trie."""

    phase: Phase
    copied: int
    start: int
    node: Node | None


class TokenSpan(NamedTuple):
    """A finished mention: source tokens [start, end) carry the label with index `label`."""

    start: int
    end: int
    label: int


class Mention(NamedTuple):
    """A finished mention and the output indices of its marker and label tokens, whose probabilities make its score."""

    span: TokenSpan
    steps: tuple[int, ...]


_BEGIN = State(Phase.OUTSIDE, 0, -1, None)


class Guide:
    """The automaton over one source.

    `borders[i]` says whether a marker may stand before source token i; it has one entry more than the source, and
    the last one, the end of the text, is always a border.
    """

    __slots__ = ("_borders", "_history", "_source", "_tags", "_trie", "state")

    def __init__(self, source: Sequence[int], borders: Sequence[bool], trie: LabelTrie, tags: TagFormat) -> None:
        if len(borders) != len(source) + 1:
            raise ValueError(f"{len(borders)} borders for {len(source)} tokens, expected {len(source) + 1}")
        self._source, self._borders, self._trie, self._tags = source, borders, trie, tags
        self.state = _BEGIN
        self._history: list[State] = []

    @property
    def is_finished(self) -> bool:
        return self.state.phase is Phase.OUTSIDE and self.state.copied == len(self._source)

    def allowed(self) -> tuple[int, ...]:
        """The legal tokens, the copy first; empty when finished."""
        phase, copied, start, node = self.state
        if phase is Phase.LABEL:
            assert node is not None
            return tuple(node.children)
        if copied == len(self._source):
            return () if phase is Phase.OUTSIDE else (self._tags.bar,)
        copy = self._source[copied]
        marker = self._tags.open if phase is Phase.OUTSIDE else self._tags.bar
        if copied == start or copy == marker or not self._borders[copied]:
            return (copy,)
        return (copy, marker)

    def advance(self, token: int) -> None:
        """Take one legal token. Raises ValueError on any other."""
        if token not in self.allowed():
            raise ValueError(f"token {token} is not among the allowed {self.allowed()}")
        self._history.append(self.state)
        phase, copied, start, node = self.state
        if phase is Phase.LABEL:
            assert node is not None
            below = node.children[token]
            if below.children:
                self.state = State(phase, copied, start, below)
            else:
                self.state = State(Phase.OUTSIDE, copied, -1, None)
        elif copied < len(self._source) and token == self._source[copied]:
            self.state = State(phase, copied + 1, start, None)
        elif phase is Phase.OUTSIDE:
            self.state = State(Phase.INSIDE, copied, copied, None)
        else:
            self.state = State(Phase.LABEL, copied, start, self._trie.root)

    def rollback(self, steps: int) -> None:
        """Undo the last `steps` tokens."""
        if not 0 <= steps <= len(self._history):
            raise ValueError(f"cannot undo {steps} of {len(self._history)} steps")
        if steps:
            self.state = self._history[-steps]
            del self._history[-steps:]

    def mentions(self) -> list[Mention]:
        """The mentions finished so far, in order."""
        found = []
        path = [*self._history, self.state]
        steps: list[int] = []
        for at, (before, after) in enumerate(pairwise(path)):
            if before.phase is not after.phase or before.phase is Phase.LABEL:
                steps.append(at)
            if before.phase is Phase.LABEL and after.phase is Phase.OUTSIDE:
                assert before.node is not None
                label = before.node.children[self._tags.close].labels[0]
                found.append(Mention(TokenSpan(before.start, before.copied, label), tuple(steps)))
                steps = []
        return found


def write(source: Sequence[int], spans: Sequence[TokenSpan], trie: LabelTrie, tags: TagFormat) -> list[int]:
    """The tagged output for sorted, disjoint `spans`: the token sequence that training teaches and drafts propose."""
    tokens: list[int] = []
    done = 0
    for start, end, label in spans:
        tokens += source[done:start]
        tokens.append(tags.open)
        tokens += source[start:end]
        tokens.append(tags.bar)
        tokens += trie.paths[label]
        done = end
    tokens += source[done:]
    return tokens
