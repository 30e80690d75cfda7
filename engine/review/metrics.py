"""Strict entity-level scores of predicted spans against gold spans: pure counting, no model, no files.

All fractions are in [0, 1], and 0/0 counts as 0. "Strict" is same start, same end, same label, the rule of the CoNLL
shared tasks (Tjong Kim Sang and De Meulder 2003) on character offsets.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..span import Span

BINS = 10
"""Equal-width score bins of the calibration table."""


@dataclass(frozen=True, slots=True)
class Counts:
    """True positives, false positives and false negatives, in entities."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    @property
    def precision(self) -> float:
        return _fraction(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        return _fraction(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        return _fraction(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    def to_dict(self) -> dict[str, float]:
        return {
            "precision": self.precision, "recall": self.recall, "f1": self.f1,
            "tp": self.tp, "fp": self.fp, "fn": self.fn,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Predictions with `low <= score < high`, 1.0 in the last bin: a calibrated model has precision == mean score."""

    low: float
    high: float
    count: int
    mean_score: float
    precision: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that `nerx eval` shows. Counts are strict, except for `partial`."""

    texts: int
    micro: Counts
    per_label: dict[str, Counts]
    """Labels in the order of `labels`. Labels that occur only in gold or predictions follow, sorted."""
    macro_f1: float
    """Mean F1 of the labels that occur in gold or predictions. A label that occurs in neither does not count."""
    partial: Counts
    """Counts where an entity is found if a prediction of its label overlaps it. Matches are one to one."""
    confusion: dict[tuple[str, str], int]
    """(gold label, predicted label) -> number of entities with the right borders and the wrong label."""
    calibration: tuple[CalibrationBin, ...]
    """Bins that hold at least one prediction."""
    calibration_error: float
    """Expected calibration error: mean |score - precision| of the bins, weighted by their counts
    (Naeini et al. 2015, Guo et al. 2017)."""
    seen: Counts
    """Counts of entities whose mention occurs in the training seeds, character for character."""
    unseen: Counts
    """Counts of all other entities. A model cannot have memorised these."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types. Confusion is a list of {gold, predicted, count}, most frequent first."""
        ranked = sorted(self.confusion.items(), key=lambda item: (-item[1], item[0]))
        return {
            "texts": self.texts,
            "micro": self.micro.to_dict(),
            "macro_f1": self.macro_f1,
            "per_label": {label: counts.to_dict() for label, counts in self.per_label.items()},
            "partial": self.partial.to_dict(),
            "confusion": [{"gold": gold, "predicted": guess, "count": count} for (gold, guess), count in ranked],
            "calibration": [
                {"low": b.low, "high": b.high, "count": b.count, "mean_score": b.mean_score, "precision": b.precision}
                for b in self.calibration
            ],
            "calibration_error": self.calibration_error,
            "seen": self.seen.to_dict(),
            "unseen": self.unseen.to_dict(),
        }


def evaluate(
    gold: Sequence[Sequence[Span]],
    predicted: Sequence[Sequence[Span]],
    texts: Sequence[str],
    *,
    labels: Sequence[str],
    seen: Collection[str] = (),
) -> Evaluation:
    """Score `predicted` against `gold`, text by text.

    `gold[i]` and `predicted[i]` are the spans of `texts[i]`. The spans of one list do not overlap. `labels` are the
    labels of the adapter, in the order of the table. `seen` holds the mentions of the training seeds.
    Raises ValueError when the three sequences differ in length.
    """
    if not len(gold) == len(predicted) == len(texts):
        raise ValueError(f"{len(texts)} texts, but {len(gold)} lists of gold and {len(predicted)} of predicted spans")
    tally = _Tally(frozenset(seen))
    for gold_spans, predicted_spans, text in zip(gold, predicted, texts, strict=True):
        tally.add(gold_spans, predicted_spans, text)
    return tally.evaluation(len(texts), labels)


@dataclass(slots=True)
class _Tally:
    """The running counts of one evaluation."""

    seen_mentions: frozenset[str]
    per_label: defaultdict[str, Counts] = field(default_factory=lambda: defaultdict(Counts))
    partial: Counts = Counts()
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)
    scored: list[tuple[float, bool]] = field(default_factory=list)
    seen: Counts = Counts()
    unseen: Counts = Counts()

    def add(self, gold: Sequence[Span], predicted: Sequence[Span], text: str) -> None:
        gold_of, predicted_of = _by_key(gold), _by_key(predicted)
        for key in gold_of.keys() | predicted_of.keys():
            wanted, found = key in gold_of, key in predicted_of
            self._count_strict(key, Counts(tp=wanted and found, fp=not wanted, fn=not found), text)
        self.partial += overlap_counts(gold_of.values(), predicted_of.values())
        label_at = {(span.start, span.end): span.label for span in gold}
        for span in predicted_of.values():
            self.scored.append((span.score, span.key in gold_of))
            right = label_at.get((span.start, span.end), span.label)
            if right != span.label:
                self.confusion[right, span.label] += 1

    def _count_strict(self, key: tuple[int, int, str], counts: Counts, text: str) -> None:
        start, end, label = key
        self.per_label[label] += counts
        if text[start:end] in self.seen_mentions:
            self.seen += counts
        else:
            self.unseen += counts

    def evaluation(self, texts: int, labels: Sequence[str]) -> Evaluation:
        order = [*labels, *sorted(self.per_label.keys() - set(labels))]
        occurring = [self.per_label[label] for label in order if label in self.per_label]
        bins = calibration_bins(self.scored)
        return Evaluation(
            texts=texts,
            micro=sum(occurring, Counts()),
            per_label={label: self.per_label.get(label, Counts()) for label in order},
            macro_f1=_fraction(sum(counts.f1 for counts in occurring), len(occurring)),
            partial=self.partial,
            confusion=dict(sorted(self.confusion.items())),
            calibration=bins,
            calibration_error=expected_calibration_error(bins),
            seen=self.seen,
            unseen=self.unseen,
        )


def overlap_counts(gold: Iterable[Span], predicted: Iterable[Span]) -> Counts:
    """Counts that need only one shared character and the same label. Every span is matched at most once.

    One sweep from the left finds a largest matching, because the spans of one list do not overlap: if a gold span
    reaches past the first prediction, that prediction has no other partner.
    """
    gold_of, predicted_of = _by_label(gold), _by_label(predicted)
    total = Counts()
    for label in gold_of.keys() | predicted_of.keys():
        wanted, found = gold_of.get(label, []), predicted_of.get(label, [])
        matched = i = j = 0
        while i < len(wanted) and j < len(found):
            if wanted[i].end <= found[j].start:
                i += 1
            elif found[j].end <= wanted[i].start:
                j += 1
            else:
                matched, i, j = matched + 1, i + 1, j + 1
        total += Counts(matched, len(found) - matched, len(wanted) - matched)
    return total


def calibration_bins(scored: Sequence[tuple[float, bool]]) -> tuple[CalibrationBin, ...]:
    """Bins of (score, was right) pairs, lowest first, without empty bins. Scores beyond [0, 1] go to the end bins."""
    members: defaultdict[int, list[tuple[float, bool]]] = defaultdict(list)
    for score, right in scored:
        members[min(max(int(score * BINS), 0), BINS - 1)].append((score, right))
    return tuple(
        CalibrationBin(
            low=index / BINS,
            high=(index + 1) / BINS,
            count=len(inside),
            mean_score=_fraction(sum(score for score, _ in inside), len(inside)),
            precision=_fraction(sum(right for _, right in inside), len(inside)),
        )
        for index, inside in sorted(members.items())
    )


def expected_calibration_error(bins: Sequence[CalibrationBin]) -> float:
    """Mean distance between score and precision over all predictions; 0 if there is none."""
    gap = sum(b.count * abs(b.mean_score - b.precision) for b in bins)
    return _fraction(gap, sum(b.count for b in bins))


def _by_key(spans: Sequence[Span]) -> dict[tuple[int, int, str], Span]:
    """One span per key, in order of place. A repeated span counts once."""
    return {span.key: span for span in sorted(spans)}


def _by_label(spans: Iterable[Span]) -> dict[str, list[Span]]:
    groups: defaultdict[str, list[Span]] = defaultdict(list)
    for span in sorted(spans):
        groups[span.label].append(span)
    return groups


def _fraction(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
