"""Cuts a long text into overlapping windows of tokens, and merges the spans of the windows into spans of the text.

This module works on token offsets alone; it knows neither tokenizer nor model. Every chunk *reads* a window of tokens
and *owns* a range of characters. The owned ranges cover the text without overlap, so `sum(end - start)` over the chunks
proves that every character was read. They are cut where a reader would pause. A window reaches beyond its owned range
on both sides, so that no mention near a cut is read without its context.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..span import Span


@dataclass(frozen=True, slots=True)
class Chunk:
    """Reads tokens `[first, last)`; owns characters `[start, end)`, the place of the spans it decides on."""

    first: int
    last: int
    start: int
    end: int


def chunk(text: str, offsets: Sequence[tuple[int, int]], limit: int, overlap: int) -> list[Chunk]:
    """Split `text` into chunks of at most `limit` tokens, neighbours sharing at most `overlap` tokens.

    `offsets` holds the half-open character range of every token, in reading order; gaps are fine (whitespace), and so
    are tokens that share a character (byte-level pieces). The cut between two owned ranges lies in the last
    half of what the chunk may own, at the strongest border there is: blank line, then sentence end or line break,
    then clause, whitespace, ASCII punctuation, any token border; inside one character only if a window holds nothing
    else. A text that fits is one chunk, and so is the empty text. Time is linear in characters plus tokens read.
    Raises ValueError unless `0 <= overlap < limit`.
    """
    if not 0 <= overlap < limit:
        raise ValueError(f"overlap {overlap} and limit {limit}: overlap is at least 0 and below limit")
    if len(offsets) <= limit:
        return [Chunk(0, len(offsets), 0, len(text))]
    strength = _strength_of_cuts(text, offsets)
    before = overlap // 2
    after = overlap - before
    chunks: list[Chunk] = []
    cut = first = start = 0
    while len(offsets) - first > limit:
        furthest = first + limit - after
        nearest = max(cut + 1, (cut + furthest) // 2)
        following = max(range(nearest, furthest + 1), key=lambda token: (strength(token), token))
        last = _outer_border(strength, range(following + after, following, -1), following)
        end = max(start, offsets[following][0])
        chunks.append(Chunk(first, last, start, end))
        cut, start = following, end
        first = _outer_border(strength, range(max(0, cut - before), cut), cut)
    return [*chunks, Chunk(first, len(offsets), start, len(text))]


def merge(chunks: Sequence[Chunk], spans_per_chunk: Sequence[Sequence[Span]]) -> list[Span]:
    """The spans of the text, sorted and never overlapping, from those of its chunks (all in offsets of the text).

    A span is kept by the chunk that owns its start. Where two kept spans overlap, one began before the cut and reaches
    over it; that one stays, since its owner read past the cut. Raises ValueError unless there is one list per chunk.
    """
    if len(chunks) != len(spans_per_chunk):
        raise ValueError(f"{len(chunks)} chunks, {len(spans_per_chunk)} lists of spans: not one a chunk")
    merged: list[Span] = []
    for owner, spans in zip(chunks, spans_per_chunk, strict=True):
        for span in sorted(spans):
            if owner.start <= span.start < owner.end and (not merged or merged[-1].end <= span.start):
                merged.append(span)
    return merged


# Strength of a cut between two tokens. A cut of at least WORD has whitespace, or the end of a clause, beside it.
PARAGRAPH, SENTENCE, CLAUSE, WORD, PUNCTUATION, BETWEEN, INSIDE = 6, 5, 4, 3, 2, 1, 0

_CLOSERS = "[\"')\\]}»”’」』）】》]*"
# Weakest first, the stronger overwrite. Every position in the group of a match, both its ends included, is a border.
# The lookbehinds let a match begin only where a run of whitespace does: without them a megabyte of spaces is quadratic.
_BORDERS = (
    (PUNCTUATION, re.compile(r"([!-/:-@\[-`{-~]+)")),
    (WORD, re.compile(r"(\s+)")),
    (CLAUSE, re.compile(rf"[,;:]{_CLOSERS}(\s+)|[、，；：]{_CLOSERS}(\s*)")),
    (SENTENCE, re.compile(rf"[.!?…]{_CLOSERS}(\s+)|[。！？]{_CLOSERS}(\s*)|(?<!\s)(\s*\n\s*)")),
    (PARAGRAPH, re.compile(r"(?<!\s)(\s*\n\s*\n\s*)")),
)


def _strength_of_cuts(text: str, offsets: Sequence[tuple[int, int]]) -> Callable[[int], int]:
    """A function from token index `i >= 1` to the strength of a cut right before that token."""
    strengths = bytearray([BETWEEN]) * (len(text) + 1)
    for strength, pattern in _BORDERS:
        for match in pattern.finditer(text):
            start, end = match.span(match.lastindex or 0)
            strengths[start : end + 1] = bytes([strength]) * (end + 1 - start)

    def strength_before(token: int) -> int:
        at = offsets[token][0]
        if offsets[token - 1][1] > at or _continues_character(text, at):
            return INSIDE
        return strengths[at]

    return strength_before


def _continues_character(text: str, at: int) -> bool:
    """Whether `text[at]` belongs to what a reader sees as the character before: marks, joiners, skin tones.

    A subset of the grapheme rules of Unicode annex 29: flags and Hangul jamo may be cut when nothing else is left.
    """
    if not 0 < at < len(text):
        return False
    char = text[at]
    return (
        unicodedata.category(char).startswith("M")
        or "\N{ZERO WIDTH JOINER}" in (char, text[at - 1])
        or "\N{EMOJI MODIFIER FITZPATRICK TYPE-1-2}" <= char <= "\N{EMOJI MODIFIER FITZPATRICK TYPE-6}"
    )


def _outer_border(strength: Callable[[int], int], candidates: Iterable[int], cut: int) -> int:
    """Choose where a window ends. `candidates` go from the furthest end to the nearest.

    The first candidate at a word's border wins, else the first between two characters, else `cut` itself.
    """
    fallback = cut
    for token in candidates:
        if strength(token) >= WORD:
            return token
        if fallback == cut and strength(token) >= BETWEEN:
            fallback = token
    return fallback
