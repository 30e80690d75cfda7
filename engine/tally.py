"""Counts of finished work: of a batch, of a shard (stored in its file), or of a whole run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields

import numpy as np

from .span import Extraction

SCORE_BINS = 20
"""Number of equal bins of [0, 1] in which scores are counted. 1 itself falls into the last bin."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts that `+` adds up, in any order. Characters are Unicode code points; `tokens` are the model's tokens.

    Every piece of output stores its tally. So a field that is added later needs a default, which older files get.
    """

    rows: int = 0
    texts: int = 0
    """Rows whose text is not null."""
    entities: int = 0
    entities_per_label: Mapping[str, int] = field(default_factory=dict)
    failures: int = 0
    """Rows with a `nerx_error`."""
    characters_in: int = 0
    """Characters in the processed texts, counted on the texts."""
    characters_read: int = 0
    """Characters in the same texts, counted by the extractor."""
    tokens: int = 0
    seconds: float = 0.0
    scores: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Label -> its entities by score, in SCORE_BINS bins."""
    repeats: int = 0
    """Texts that are equal to an earlier one and were not read again."""
    rounds: int = 0
    """Decoding rounds, summed over texts."""
    drafted: int = 0
    """Tokens that the drafter proposed."""
    accepted: int = 0
    """Drafted tokens that the model kept."""

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
        return self._combined(other, 1)

    def __sub__(self, earlier: "Tally") -> "Tally":
        """What was added since `earlier`. Leaves out labels that did not grow."""
        return self._combined(earlier, -1)

    def _combined(self, other: "Tally", sign: int) -> "Tally":
        return Tally(
            **{name: getattr(self, name) + sign * getattr(other, name) for name in _NUMBERS},
            entities_per_label=_summed(self.entities_per_label, other.entities_per_label, sign),
            scores=_summed_bins(self.scores, other.scores, sign),
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Tally":
        """Read what `to_json` of this or another version wrote. Raises ValueError or TypeError for anything else."""
        record = json.loads(text)
        if not isinstance(record, dict):
            raise ValueError("counts are no JSON object")
        known = {one.name for one in fields(cls)}
        found = {name: value for name, value in record.items() if name in known}
        found["scores"] = {label: tuple(bins) for label, bins in found.get("scores", {}).items()}
        return cls(**found)


_NUMBERS = tuple(one.name for one in fields(Tally) if one.name not in {"entities_per_label", "scores"})


def _histograms(extractions: Sequence[Extraction]) -> dict[str, tuple[int, ...]]:
    """Histograms of the scores in single precision, as they are stored: a count of the output gives the same bins."""
    per_label: dict[str, list[float]] = {}
    for extraction in extractions:
        for span in extraction.spans or ():
            per_label.setdefault(span.label, []).append(span.score)
    return {label: _histogram(scores) for label, scores in per_label.items()}


def _histogram(scores: Sequence[float]) -> tuple[int, ...]:
    places = (np.array(scores, np.float32) * SCORE_BINS).astype(np.int64).clip(0, SCORE_BINS - 1)
    return tuple(np.bincount(places, minlength=SCORE_BINS).tolist())


def _summed(ours: Mapping[str, int], theirs: Mapping[str, int], sign: int) -> dict[str, int]:
    total = {name: ours.get(name, 0) + sign * theirs.get(name, 0) for name in {**ours, **theirs}}
    return {name: count for name, count in total.items() if count}


def _summed_bins(
    ours: Mapping[str, tuple[int, ...]], theirs: Mapping[str, tuple[int, ...]], sign: int
) -> dict[str, tuple[int, ...]]:
    total = dict(ours)
    for label, bins in theirs.items():
        pairs = zip(total.get(label, (0,) * len(bins)), bins, strict=True)
        total[label] = tuple(mine + sign * other for mine, other in pairs)
    return {label: bins for label, bins in total.items() if any(bins)}
