"""Checks an output: the rules of every row, the stored counts, and the recorded digests.

A problem names its place and never quotes a text. This module loads no model.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..bases.find import base_folder
from ..errors import AdapterError, OutputError
from ..origin import INPUT, OFFSET_UNIT
from ..span import Extraction, broken_rule
from ..tagging.card import AdapterCard
from ..tally import Tally
from ..writing.place import part_name
from .enriched import Enriched, Row

MOST_PROBLEMS = 20
"""Number of problems that are listed. All are counted."""

_SAME_IN_ALL_PARTS = ("adapter", "base_digest", "options", "text_column", "offset_unit")
_COUNTED = ("rows", "texts", "entities", "entities_per_label", "failures", "characters_in")
"""The counts that can be made from the rows alone."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was checked. `checks` names it in words. If `problems` is empty, the output is sound."""

    rows: int
    entities: int
    checks: tuple[str, ...]
    problems: tuple[str, ...]
    count: int
    """The number of all problems, including those beyond MOST_PROBLEMS."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def verify(enriched: Enriched, adapter: Path | None = None) -> Verification:
    """Read an output from start to end. With `adapter`, also compare that folder with the recorded adapter."""
    checks = ["every row", "counts", "metadata"]
    problems = list(_metadata_problems(enriched))
    count = len(problems)
    total = Tally()
    for part in range(len(enriched.parts)):
        counted = Tally()
        for batch in enriched.batches(part):
            rows = list(enriched.rows_of(batch))
            found = [f"row {row.number:,}: {problem}" for row in rows if (problem := row_problem(row))]
            problems += found[: MOST_PROBLEMS - len(problems)] if len(problems) < MOST_PROBLEMS else []
            count += len(found)
            counted += _counted(rows)
        wrong = list(_count_problems(enriched, part, counted))
        problems, count, total = [*problems, *wrong], count + len(wrong), total + counted
    if adapter is not None:
        wrong = list(_adapter_problems(enriched, adapter, checks))
        problems, count = [*problems, *wrong], count + len(wrong)
    return Verification(total.rows, total.entities, tuple(checks), tuple(problems[:MOST_PROBLEMS]), count)


def row_problem(row: Row) -> str | None:
    """The first rule that a row breaks; None if it breaks none."""
    if problem := broken_rule(Extraction(row.spans, row.error), row.text, has_text=row.has_text):
        return problem
    for span, mention in zip(row.spans or (), row.mentions, strict=True):
        if (row.text or "")[span.start : span.end] != mention:
            return f"entity [{span.start}, {span.end}) is not the text that is stored with it"
    return None


def _counted(rows: list[Row]) -> Tally:
    extractions = [Extraction(row.spans, row.error, len(row.text or "")) for row in rows]
    return Tally.of([row.text for row in rows], extractions)


def _count_problems(enriched: Enriched, part: int, counted: Tally) -> Iterator[str]:
    name = enriched.parts[part].name
    try:
        stored = enriched.tally(part)
    except OutputError as error:
        yield f"{name}: {error}"
        return
    for field in _COUNTED:
        if getattr(stored, field) != getattr(counted, field):
            yield f"{name}: its rows give {field} {getattr(counted, field)}, but {getattr(stored, field)} is stored"
    if stored.characters_in != stored.characters_read:
        yield f"{name}: only {stored.characters_read:,} of {stored.characters_in:,} characters were read"
    # Older outputs have no histograms, or after a retry only some.
    if sum(map(sum, stored.scores.values())) == stored.entities and stored.scores != counted.scores:
        yield f"{name}: the scores of its rows differ from the stored histogram"


def _metadata_problems(enriched: Enriched) -> Iterator[str]:
    first = enriched.facts[0]
    if not first.get("adapter"):
        yield "metadata: the output does not say which adapter made it"
    if first.get("offset_unit") != OFFSET_UNIT:
        yield f"metadata: offset unit {first.get('offset_unit')!r}, not {OFFSET_UNIT!r}"
    for part, facts in zip(enriched.parts, enriched.facts, strict=True):
        changed = [name for name in _SAME_IN_ALL_PARTS if facts.get(name) != first.get(name)]
        if changed:
            yield f"{part.name}: was made with another {', '.join(changed)} than {enriched.parts[0].name}"
    numbers = [part.name for part in enriched.parts if part.name.startswith("part-")]
    expected = [part_name(index) for index in range(len(numbers))]
    # A growing output loses parts when inputs are gone.
    if enriched.path.is_dir() and INPUT not in first and numbers != expected:
        yield f"{next(name for name in expected if name not in numbers)}: missing"


def check_adapter(folder: Path) -> tuple[AdapterCard, bool]:
    """The card of an adapter whose files are those that `fit` wrote, and whether its base is on this machine.

    Raises AdapterError when a file is not what it was, or the base on this machine is another one.
    """
    card = AdapterCard.read(folder)
    card.check_files(folder)
    base = base_folder(card.base)
    if base.is_dir():
        card.check_base(base)
    return card, base.is_dir()


def _adapter_problems(enriched: Enriched, adapter: Path, checks: list[str]) -> Iterator[str]:
    recorded = enriched.facts[0]
    try:
        card, base_at_hand = check_adapter(adapter)
    except AdapterError as error:
        yield f"adapter {adapter}: {error}"
        return
    checks += ["adapter folder", "base" if base_at_hand else "base not at hand"]
    if card.digest != recorded.get("adapter"):
        yield f"adapter {adapter}: has digest {card.digest}, but the output was made with {recorded.get('adapter')}"
    if card.base_digest != recorded.get("base_digest"):
        yield f"adapter {adapter}: is for base {card.base_digest}, the output with {recorded.get('base_digest')}"
