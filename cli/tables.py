"""Results as rich tables. Fractions are percentages with one digit; counts have thousands separators."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.table import Table

from ..engine.label import LabelSet
from ..engine.review.metrics import Counts, Evaluation
from .highlight import printable


def score_table(evaluation: Evaluation) -> Table:
    """Strict precision, recall and F1: a row for each label, and the totals."""
    table = number_table("label", "gold", "found", "precision", "recall", "F1")
    for label, counts in evaluation.per_label.items():
        table.add_row(printable(label), *_score_cells(counts))
    table.add_section()
    table.add_row("all (micro)", *_score_cells(evaluation.micro), style="bold")
    table.add_row("all (macro)", "", "", "", "", percent(evaluation.macro_f1))
    table.add_row("partial match", *_score_cells(evaluation.partial), style="dim")
    return table


def _score_cells(counts: Counts) -> list[str]:
    gold, found = counts.tp + counts.fn, counts.tp + counts.fp
    shares = [percent(counts.precision) if found else "-", percent(counts.recall) if gold else "-"]
    return [f"{gold:,}", f"{found:,}", *shares, percent(counts.f1) if gold or found else "-"]


def count_table(counts: Mapping[str, int]) -> Table:
    """The number of entities of each label, most frequent first."""
    table = number_table("label", "entities")
    for label, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(printable(label), f"{count:,}")
    return table


def label_table(labels: LabelSet, scores: Mapping[str, Any]) -> Table:
    """Labels with their descriptions, and with their F1 if `scores` (from an adapter's card) hold it."""
    table = plain_table()
    table.add_column("label", overflow="fold")
    table.add_column("F1", justify="right")
    table.add_column("description", overflow="fold")
    per_label = scores.get("per_label", {})
    for label in labels:
        f1 = per_label.get(label.name, {}).get("f1")
        table.add_row(printable(label.name), "-" if f1 is None else percent(f1), printable(label.description))
    return table


def fact_table(facts: Iterable[tuple[str, str]]) -> Table:
    """Names and values of one thing."""
    table = plain_table(show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, printable(value))
    return table


def number_table(first: str, *numbers: str) -> Table:
    """An empty table: a column of names, then columns of numbers."""
    table = plain_table()
    table.add_column(first, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def plain_table(show_header: bool = True) -> Table:
    head = box.SIMPLE_HEAD if show_header else None
    return Table(box=head, show_edge=False, pad_edge=False, show_header=show_header)
