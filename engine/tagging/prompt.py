"""Encodes texts and labels as token sequences, in the same way for training and for decoding.

The source is tokenised once; markers go between its tokens. A border that an annotation puts inside a token is moved
outward to the token's own border, and mentions that collide after that are dropped (`encode_tagged` reports both).
Holds no torch.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ..label import LabelSet
from ..span import Span
from .chunk import Chunk, chunk
from .guide import Guide, LabelTrie, State, TokenSpan, write
from .tags import TagFormat

OVERLAP = 32
"""The most tokens that neighbouring chunks of a long text share."""

CASE_TYPES = 4
LOWER, CAPITALISED, UPPER, MIXED = range(CASE_TYPES)
"""The letter case of a word. An uncased vocabulary loses it; a base whose config says `nerx_case` reads it as one of
CASE_TYPES token types."""


@dataclass(frozen=True, slots=True)
class SourceTokens:
    """A tokenised text, or a chunk of one.

    `offsets[i]` is the half-open code point range of token i, without surrounding white space; `borders` has one
    entry more than there are tokens: whether a marker may stand before token i. `cases[i]` is the case of its word.
    """

    ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]
    borders: tuple[bool, ...]
    cases: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def characters(self, start: int, end: int) -> tuple[int, int]:
        """Code point range of tokens [start, end) without white space tokens at its ends; empty if all are."""
        visible = [(first, last) for first, last in self.offsets[start:end] if first < last]
        return (visible[0][0], visible[-1][1]) if visible else (0, 0)

    def copied_cases(self, copied: Sequence[int], before: int = 0) -> list[int]:
        """Letter cases of answer tokens: a copy has the case of its source token, a marker or label has LOWER.

        `copied` counts, for each answer token, the source tokens copied up to and with it. `before` is that count
        for the token in front of the first one.
        """
        previous = (before, *copied[:-1])
        return [self.cases[now - 1] if now > was else LOWER for was, now in zip(previous, copied, strict=False)]

    def part(self, start: int, end: int) -> "SourceTokens":
        """Tokens [start, end) as a source of their own; its ends are borders."""
        return SourceTokens(
            self.ids[start:end],
            self.offsets[start:end],
            (True, *self.borders[start + 1 : end], True),
            self.cases[start:end],
        )


@dataclass(frozen=True, slots=True)
class Head:
    """The prompt before the text, the same for a whole run. `label_ends[k]` is the place of label k's last token."""

    ids: tuple[int, ...]
    label_ends: tuple[int, ...]
    trie: LabelTrie


@dataclass(frozen=True, slots=True)
class Decision:
    """A step with more than one legal token: output index, guide state, legal tokens, index of the right one."""

    at: int
    state: State
    allowed: tuple[int, ...]
    right: int


@dataclass(frozen=True, slots=True)
class Tagged:
    """A tagged output: tokens, source tokens copied up to and with each, decisions, and what could not be written."""

    ids: tuple[int, ...]
    copied: tuple[int, ...]
    decisions: tuple[Decision, ...]
    spans: tuple[TokenSpan, ...]
    moved: tuple[Span, ...]
    dropped: tuple[Span, ...]


class PromptEncoder:
    """Encodes for one base. `tokenizer` is a Hugging Face fast tokenizer, because offsets are needed."""

    def __init__(self, tokenizer: Any, tags: TagFormat) -> None:
        self.tags = tags
        self._tokenizer = tokenizer

    def encode_head(self, labels: LabelSet) -> Head:
        """Encode the labels with their descriptions, and the mark behind which the text begins."""
        tags = self.tags
        ids = list(tags.head)
        ends, names = [], []
        for label in labels:
            name = self._pieces(label.name)
            names.append(name)
            ids += name
            if label.description:
                ids += [*tags.description_mark, *self._pieces(label.description)]
            ids += tags.label_end
            ends.append(len(ids) - 1)
        ids += tags.text_mark
        return Head(tuple(ids), tuple(ends), LabelTrie(labels.names, names, tags.close))

    def encode_source(self, text: str) -> SourceTokens:
        """Tokenise a text. Special tokens written out in it stay ordinary text."""
        encoding = self._tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=True, verbose=False
        )
        offsets = tuple(_strip(text, start, end) for start, end in encoding["offset_mapping"])
        borders = [True] + [is_border(text, before, after) for (_, before), (after, _) in pairwise(offsets)]
        if offsets:
            borders.append(True)
        return SourceTokens(tuple(encoding["input_ids"]), offsets, tuple(borders), word_cases(text, offsets))

    def encode_chunks(self, text: str, limit: int) -> list[tuple[Chunk, SourceTokens]]:
        """Tokenise a text once and cut it into chunks of at most `limit` tokens, each with its own tokens."""
        source = self.encode_source(text)
        chunks = chunk(text, source.offsets, limit, min(OVERLAP, limit // 4))
        return [(one, source.part(one.first, one.last)) for one in chunks]

    def encode_tagged(self, source: SourceTokens, spans: Sequence[Span], labels: LabelSet, trie: LabelTrie) -> Tagged:
        """Encode the right answer for sorted, disjoint `spans`, with the same guide that decoding obeys."""
        token_spans, moved, dropped = self._token_spans(source, spans, labels)
        ids = write(source.ids, token_spans, trie, self.tags)
        guide = Guide(source.ids, source.borders, trie, self.tags)
        copied, decisions = [], []
        for at, token in enumerate(ids):
            allowed = guide.allowed()
            if len(allowed) > 1:
                decisions.append(Decision(at, guide.state, allowed, allowed.index(token)))
            guide.advance(token)
            copied.append(guide.state.copied)
        return Tagged(tuple(ids), tuple(copied), tuple(decisions), tuple(token_spans), tuple(moved), tuple(dropped))

    def positions(self, head: int, length: int, copied: Sequence[int]) -> list[int]:
        """Position ids of the answer, its leading `output_mark` included, after `head + length` prompt tokens.

        `copied` counts, for each answer token, the source tokens copied up to and with it (see TagFormat.aligned).
        """
        mark = len(self.tags.output_mark)
        if self.tags.aligned:
            return [head - 1] * mark + [head + count - 1 for count in copied]
        return list(range(head + length, head + length + mark + len(copied)))

    def _pieces(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids

    def _token_spans(
        self, source: SourceTokens, spans: Sequence[Span], labels: LabelSet
    ) -> tuple[list[TokenSpan], list[Span], list[Span]]:
        found: list[TokenSpan] = []
        moved, dropped = [], []
        for span in spans:
            token_span = _cover(source, span, labels.index(span.label))
            if token_span is None or not self._is_writable(source, token_span, found):
                dropped.append(span)
                continue
            found.append(token_span)
            if source.characters(token_span.start, token_span.end) != (span.start, span.end):
                moved.append(span)
        return found, moved, dropped

    def _is_writable(self, source: SourceTokens, span: TokenSpan, before: Sequence[TokenSpan]) -> bool:
        follows = source.ids[span.end] if span.end < len(source) else None
        return (
            (not before or before[-1].end <= span.start)
            and source.ids[span.start] != self.tags.open
            and follows != self.tags.bar
        )


def _cover(source: SourceTokens, span: Span, label: int) -> TokenSpan | None:
    """The tokens that a span touches, widened to the nearest borders; None when it touches none."""
    touched = [i for i, (start, end) in enumerate(source.offsets) if start < span.end and end > span.start]
    if not touched:
        return None
    first, last = touched[0], touched[-1] + 1
    while not source.borders[first]:
        first -= 1
    while not source.borders[last]:
        last += 1
    return TokenSpan(first, last, label)


def _strip(text: str, start: int, end: int) -> tuple[int, int]:
    """Offsets without surrounding white space. Some tokenizers count the blank before a word as part of it."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def is_border(text: str, before: int, after: int) -> bool:
    """Whether a marker may stand between a token that ends at `before` and one that starts at `after`.

    Not inside a run of letters or of digits (so "100g" may be split, "York" not), not inside one character that
    byte-level tokens share, and not before a combining mark or a joiner. Scripts written without spaces have a
    border at every character.
    """
    if after > before:
        return True
    if after < before or before == 0 or after >= len(text):
        return after == before and (before == 0 or after >= len(text))
    left, right = text[before - 1], text[after]
    if unicodedata.combining(right) or right in "\u200d\ufe0e\ufe0f" or left == "\u200d":
        return False
    if unicodedata.category(right) in ("Mn", "Mc", "Me", "Sk") and not right.isascii():
        return False
    if left.isdigit() and right.isdigit():
        return False
    return not (left.isalpha() and right.isalpha()) or _is_unspaced(left) or _is_unspaced(right)


_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x9FFF),  # kana and Han
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)


def _is_unspaced(character: str) -> bool:
    """Whether the script writes its words without spaces between them."""
    return any(low <= ord(character) <= high for low, high in _UNSPACED)


def word_cases(text: str, offsets: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Case of the word that each token belongs to; pieces of one word share it."""
    cases: list[int] = []
    i = 0
    while i < len(offsets):
        j = i + 1
        while (
            j < len(offsets)
            and offsets[j][0] == offsets[j - 1][1]
            and not is_border(text, offsets[j - 1][1], offsets[j][0])
        ):
            j += 1
        cases += [_case(text[offsets[i][0] : offsets[j - 1][1]])] * (j - i)
        i = j
    return tuple(cases)


def _case(word: str) -> int:
    if word.islower() or not any(map(str.isupper, word)):
        return LOWER
    if word[0].isupper() and not any(map(str.isupper, word[1:])):
        return CAPITALISED
    return UPPER if word.isupper() else MIXED
