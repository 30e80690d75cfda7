"""Counts of what has been done: of a batch, of a shard (stored in its file), of a whole run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from .span import Extraction


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums with `+`. Characters are Unicode code points of the processed texts; `tokens` are the model's."""

    rows: int = 0
    texts: int = 0
    """Rows whose text is not null."""
    entities: int = 0
    entities_per_label: Mapping[str, int] = field(default_factory=dict)
    failures: int = 0
    """Rows with a `nerx_error`."""
    characters_in: int = 0
    """In the texts that were processed, counted on the texts."""
    characters_read: int = 0
    """In the same texts, counted by the extractor."""
    tokens: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, texts: Sequence[str | None], extractions: Sequence[Extraction]) -> "Tally":
        """The counts of one batch."""
        per_label: dict[str, int] = {}
        for extraction in extractions:
            for span in extraction.spans or ():
                per_label[span.label] = per_label.get(span.label, 0) + 1
        done = [(text, item) for text, item in zip(texts, extractions, strict=True) if item.spans is not None]
        failures = sum(extraction.error is not None for extraction in extractions)
        return cls(
            rows=len(texts),
            # A text that is not UTF-8 is a text, though there is no str for it.
            texts=sum(
                text is not None or item.error is not None for text, item in zip(texts, extractions, strict=True)
            ),
            entities=sum(per_label.values()),
            entities_per_label=per_label,
            failures=failures,
            characters_in=sum(len(text or "") for text, _ in done),
            characters_read=sum(item.characters for _, item in done),
        )

    def __add__(self, other: "Tally") -> "Tally":
        per_label = dict(self.entities_per_label)
        for label, count in other.entities_per_label.items():
            per_label[label] = per_label.get(label, 0) + count
        return Tally(
            rows=self.rows + other.rows,
            texts=self.texts + other.texts,
            entities=self.entities + other.entities,
            entities_per_label=per_label,
            failures=self.failures + other.failures,
            characters_in=self.characters_in + other.characters_in,
            characters_read=self.characters_read + other.characters_read,
            tokens=self.tokens + other.tokens,
            seconds=self.seconds + other.seconds,
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Tally":
        """Raises ValueError, TypeError when `text` is none of ours."""
        return cls(**json.loads(text))
