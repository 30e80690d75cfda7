"""Spans, what an extraction of one text yields, and what must hold of it. Offsets are half-open code points."""

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """`text[start:end]` carries `label`. `score` is a probability in [0, 1]."""

    start: int
    end: int
    label: str
    score: float = 1.0

    @property
    def key(self) -> tuple[int, int, str]:
        """What strict evaluation compares: same start, same end, same label."""
        return self.start, self.end, self.label


@dataclass(frozen=True, slots=True)
class Extraction:
    """What was found in one text.

    `spans` is sorted and never overlaps; `None` means not processed (a null text, or `error` says why),
    `()` means nothing found. `characters` counts the code points that the model has read. What it took is told
    besides and no part of what was found: `repeats` is 1 for a text that was like one before and not read again;
    decoding `rounds`, tokens `drafted`, and how many of these were `accepted`.
    """

    spans: tuple[Span, ...] | None
    error: str | None = None
    characters: int = 0
    repeats: int = field(default=0, compare=False)
    rounds: int = field(default=0, compare=False)
    drafted: int = field(default=0, compare=False)
    accepted: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Seed:
    """One annotated text. `where` names its origin (`seeds.jsonl:17`) for messages."""

    text: str
    spans: tuple[Span, ...]
    where: str = ""


def broken_rule(extraction: Extraction, text: str | None, *, has_text: bool) -> str | None:
    """The first promise about a row that its `extraction` breaks, None for a sound one. Never quotes the text.

    Spans lie inside their text, sorted and free of overlaps; a row has either spans or an error, and where there is no
    text neither. `has_text` tells a null from a text that could not be read, and is None as well.
    """
    if extraction.spans is None:
        return "has a text but neither entities nor an error" if has_text and extraction.error is None else None
    if text is None or extraction.error is not None:
        return f"has entities and {'no text' if text is None else 'an error'}"
    before = 0
    for span in extraction.spans:
        place = f"entity [{span.start}, {span.end})"
        if not before <= span.start < span.end <= len(text):
            return f"{place} is empty, out of order, overlapping, or outside its text of {len(text):,} characters"
        if not span.label or not (math.isfinite(span.score) and 0 <= span.score <= 1 + 1e-6):
            return f"{place} has no label, or a score that is no probability"
        before = span.end
    return None
