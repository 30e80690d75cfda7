"""Spans, the extraction of one text, and the rules for it. Offsets are half-open and count code points."""

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

    `spans` is sorted and free of overlaps. `None` means that the text was not processed: it is null, or `error` says
    why. `()` means that nothing was found. `characters` counts the code points that the model has read.

    The other fields are costs, and comparisons leave them out. `repeats` is 1 for a text that is equal to an earlier
    one and was not read again. `rounds` counts decoding rounds, `drafted` the drafted tokens, and `accepted` those of
    them that the model kept.
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
    """One annotated text. `where` is its file and line for messages, such as `seeds.jsonl:17`."""

    text: str
    spans: tuple[Span, ...]
    where: str = ""


def broken_rule(extraction: Extraction, text: str | None, *, has_text: bool) -> str | None:
    """The first rule that the `extraction` of a row breaks; None if it breaks none. Never quotes the text.

    Spans lie inside their text, sorted and free of overlaps. A row with a text has either spans or an error. A row
    without a text has neither. `text` is None for a null and for bytes that are no UTF-8; `has_text` tells them apart.
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
