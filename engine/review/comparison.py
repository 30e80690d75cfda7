"""Compares two outputs: which entities came, went, or changed their label or borders, and how label rates moved.

It knows rows and spans, and no files. It compares entities where both outputs hold the same text. Rates are those of
each whole output, so that yesterday's corpus can be compared with today's.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..span import Span
from .enriched import Row

Kind = Literal["gained", "lost", "relabelled", "moved"]
Per = Literal["rows", "characters"]

RATE_UNIT = 1000
"""Rates count entities per so many processed rows, or per so many characters of their texts."""


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one entity. Relabelled: another label at the same place. Moved: the same label overlaps it."""

    before: Span | None
    after: Span | None

    @property
    def kind(self) -> Kind:
        if self.before is None or self.after is None:
            return "gained" if self.before is None else "lost"
        return "moved" if self.before.label == self.after.label else "relabelled"


@dataclass(frozen=True, slots=True)
class LabelChange:
    """The changes of one label. `became` counts its entities that now have another label, `was` the reverse.

    `Difference.per` is the unit of the rates. `drift` is their relative change; None means that the label is new.
    """

    label: str
    old: int
    new: int
    gained: int
    lost: int
    became: int
    was: int
    moved: int
    old_rate: float
    new_rate: float

    @property
    def drift(self) -> float | None:
        if self.old_rate == 0:
            return 0.0 if self.new_rate == 0 else None
        return self.new_rate / self.old_rate - 1


@dataclass(frozen=True, slots=True)
class Side:
    """Counts of one output: rows, failed rows, processed rows (`answered`), and the characters of processed rows."""

    rows: int = 0
    failures: int = 0
    answered: int = 0
    characters: int = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """The result. `compared` rows have the same text in both outputs, `reworded` rows have different texts."""

    old: Side
    new: Side
    per: Per
    compared: int
    changed: int
    reworded: int
    only_old: int
    only_new: int
    labels: tuple[LabelChange, ...]
    relabelled: Mapping[tuple[str, str], int]

    def drifted(self, limit: float, least: int = 1) -> list[LabelChange]:
        """Labels whose rate changed by more than `limit` (0.1 is 10 %), if one output has `least` of their entities."""
        judged = [one for one in self.labels if max(one.old, one.new) >= least]
        return [one for one in judged if one.drift is None or abs(one.drift) > limit]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        labels = {one.label: {**asdict(one), "drift": one.drift} for one in self.labels}
        pairs = [{"from": old, "to": new, "count": count} for (old, new), count in self.relabelled.items()]
        return {**asdict(self), "labels": labels, "relabelled": pairs}


class Comparison:
    """Adds up pairs of rows. You can ask for `result` at any time. Memory does not grow with the rows."""

    def __init__(self, per: Per = "rows") -> None:
        self._per: Per = per
        self._sides: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        self._entities: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        self._rows: Counter[str] = Counter()
        self._changes: dict[Kind, Counter[str]] = {kind: Counter() for kind in ("gained", "lost", "moved")}
        self._relabelled: Counter[tuple[str, str]] = Counter()

    def add(self, old: Row | None, new: Row | None) -> list[Change]:
        """Count a pair of rows, one of which may be missing. Returns what changed."""
        for index, row in enumerate((old, new)):
            if row is not None:
                self._count(index, row)
        if old is None or new is None:
            self._rows["only_new" if old is None else "only_old"] += 1
            return []
        if old.text != new.text:
            self._rows["reworded"] += 1
            return []
        self._rows["compared"] += 1
        found = changes(old.spans or (), new.spans or ())
        self._rows["changed"] += bool(found)
        for change in found:
            if change.kind == "relabelled" and change.before and change.after:
                self._relabelled[change.before.label, change.after.label] += 1
            else:
                label = (change.after or change.before or Span(0, 0, "")).label
                self._changes[change.kind][label] += 1
        return found

    def _count(self, index: int, row: Row) -> None:
        side = self._sides[index]
        side["rows"] += 1
        side["failures"] += row.error is not None
        if row.spans is not None:
            side["answered"] += 1
            side["characters"] += len(row.text or "")
            self._entities[index].update(span.label for span in row.spans)

    def result(self) -> Difference:
        """The difference of all pairs so far."""
        sides = [Side(**side) for side in self._sides]
        names = sorted(self._entities[0].keys() | self._entities[1].keys())
        relabelled = dict(sorted(self._relabelled.items(), key=lambda item: (-item[1], item[0])))
        rows = {name: self._rows[name] for name in ("compared", "changed", "reworded", "only_old", "only_new")}
        labels = tuple(self._label(name, sides) for name in names)
        return Difference(sides[0], sides[1], self._per, labels=labels, relabelled=relabelled, **rows)

    def _label(self, name: str, sides: Sequence[Side]) -> LabelChange:
        units = [side.answered if self._per == "rows" else side.characters for side in sides]
        counts = [entities[name] for entities in self._entities]
        rates = [RATE_UNIT * count / unit if unit else 0.0 for count, unit in zip(counts, units, strict=True)]
        return LabelChange(
            name,
            old=counts[0],
            new=counts[1],
            gained=self._changes["gained"][name],
            lost=self._changes["lost"][name],
            became=sum(count for (before, _), count in self._relabelled.items() if before == name),
            was=sum(count for (_, after), count in self._relabelled.items() if after == name),
            moved=self._changes["moved"][name],
            old_rate=rates[0],
            new_rate=rates[1],
        )


def changes(old: Sequence[Span], new: Sequence[Span]) -> list[Change]:
    """The changes from `old` to `new`, spans of one text. Scores do not count. Both are sorted and free of overlaps."""
    olds, news = {span.key: span for span in old}, {span.key: span for span in new}
    before = [span for key, span in olds.items() if key not in news]
    after = [span for key, span in news.items() if key not in olds]
    places = {(span.start, span.end): span for span in after}
    found = [Change(span, places[span.start, span.end]) for span in before if (span.start, span.end) in places]
    taken = {change.after for change in found}
    after = [span for span in after if span not in taken]
    relabelled = {change.before for change in found}
    for span in before:
        if span in relabelled:
            continue
        twin = next((other for other in after if other.label == span.label and _overlap(span, other)), None)
        if twin is not None:
            after.remove(twin)
        found.append(Change(span, twin))
    return [*found, *(Change(None, span) for span in after)]


def _overlap(one: Span, other: Span) -> bool:
    return one.start < other.end and other.start < one.end
