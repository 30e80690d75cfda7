"""Counts of what has been done: of a batch, of a shard (stored in its file), of a whole run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields

import numpy as np

from .span import Extraction

SCORE_BINS = 20
"""Scores are counted in so many equal parts of [0, 1]; 1 itself falls into the last."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums with `+`, in any order. Characters are Unicode code points of the processed texts; `tokens` the model's.

    Stored with every piece of output: a field that is added later must have a default, which older files then get.
    """

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
    scores: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Label -> its entities by score, in SCORE_BINS bins."""
    repeats: int = 0
    """Texts that were like one before and not read again."""
    rounds: int = 0
    """Decoding rounds, summed over texts."""
    drafted: int = 0
    """Tokens that were fed as drafts."""
    accepted: int = 0
    """Those of them that stood."""

    @classmethod
    def of(cls, texts: Sequence[str | None], extractions: Sequence[Extraction]) -> "Tally":
        """The counts of one batch."""
        scores = _histograms(extractions)
        per_label = {label: sum(bins) for label, bins in scores.items()}
        done = [(text, item) for text, item in zip(texts, extractions, strict=True) if item.spans is not None]
        return cls(
            rows=len(texts),
            # A text that is not UTF-8 is a text, though there is no str for it.
            texts=sum(
                text is not None or item.error is not None for text, item in zip(texts, extractions, strict=True)
            ),
            entities=sum(per_label.values()),
            entities_per_label=per_label,
            failures=sum(item.error is not None for item in extractions),
            characters_in=sum(len(text or "") for text, _ in done),
            characters_read=sum(item.characters for _, item in done),
            scores=scores,
            repeats=sum(item.repeats for item in extractions),
            rounds=sum(item.rounds for item in extractions),
            drafted=sum(item.drafted for item in extractions),
            accepted=sum(item.accepted for item in extractions),
        )

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            rows=self.rows + other.rows,
            texts=self.texts + other.texts,
            entities=self.entities + other.entities,
            entities_per_label=_added(self.entities_per_label, other.entities_per_label),
            failures=self.failures + other.failures,
            characters_in=self.characters_in + other.characters_in,
            characters_read=self.characters_read + other.characters_read,
            tokens=self.tokens + other.tokens,
            seconds=self.seconds + other.seconds,
            scores=_added_bins(self.scores, other.scores),
            repeats=self.repeats + other.repeats,
            rounds=self.rounds + other.rounds,
            drafted=self.drafted + other.drafted,
            accepted=self.accepted + other.accepted,
        )

    def __sub__(self, earlier: "Tally") -> "Tally":
        """What came since `earlier`, which this has grown from. Labels that nothing came to are left out."""
        labels = {
            label: count - earlier.entities_per_label.get(label, 0) for label, count in self.entities_per_label.items()
        }
        scores = _added_bins(self.scores, {label: tuple(-n for n in bins) for label, bins in earlier.scores.items()})
        return Tally(
            rows=self.rows - earlier.rows,
            texts=self.texts - earlier.texts,
            entities=self.entities - earlier.entities,
            entities_per_label={label: count for label, count in labels.items() if count},
            failures=self.failures - earlier.failures,
            characters_in=self.characters_in - earlier.characters_in,
            characters_read=self.characters_read - earlier.characters_read,
            tokens=self.tokens - earlier.tokens,
            seconds=self.seconds - earlier.seconds,
            scores={label: bins for label, bins in scores.items() if any(bins)},
            repeats=self.repeats - earlier.repeats,
            rounds=self.rounds - earlier.rounds,
            drafted=self.drafted - earlier.drafted,
            accepted=self.accepted - earlier.accepted,
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Tally":
        """What `to_json` of this or another version wrote. Raises ValueError, TypeError for anything else."""
        record = json.loads(text)
        if not isinstance(record, dict):
            raise ValueError("counts are no JSON object")
        known = {one.name for one in fields(cls)}
        found = {name: value for name, value in record.items() if name in known}
        found["scores"] = {label: tuple(bins) for label, bins in found.get("scores", {}).items()}
        return cls(**found)


def _histograms(extractions: Sequence[Extraction]) -> dict[str, tuple[int, ...]]:
    """Of the scores as they are stored, in single precision: counted again from the output they come out the same."""
    per_label: dict[str, list[float]] = {}
    for extraction in extractions:
        for span in extraction.spans or ():
            per_label.setdefault(span.label, []).append(span.score)
    return {label: _histogram(scores) for label, scores in per_label.items()}


def _histogram(scores: Sequence[float]) -> tuple[int, ...]:
    places = (np.array(scores, np.float32) * SCORE_BINS).astype(np.int64).clip(0, SCORE_BINS - 1)
    return tuple(np.bincount(places, minlength=SCORE_BINS).tolist())


def _added(ours: Mapping[str, int], theirs: Mapping[str, int]) -> dict[str, int]:
    total = dict(ours)
    for name, count in theirs.items():
        total[name] = total.get(name, 0) + count
    return total


def _added_bins(
    ours: Mapping[str, tuple[int, ...]], theirs: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    total = dict(ours)
    for label, bins in theirs.items():
        total[label] = tuple(map(sum, zip(total.get(label, (0,) * len(bins)), bins, strict=True)))
    return total
