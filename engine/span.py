"""Spans and what an extraction of one text yields. Offsets are half-open Unicode code points; no behaviour here."""

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
