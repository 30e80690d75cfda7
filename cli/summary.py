"""What `nerx extract` says at its end, as JSON and as tables, and the line that shows how far it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

from . import console, tables
from .incremental import Inputs
from .progress import Tick, duration

if TYPE_CHECKING:
    from ..engine.run.summary import DryRun, Progress, RunSummary


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a command has to show for itself: as JSON, as tables under a heading, and how many rows failed."""

    result: Mapping[str, Any]
    heading: str
    shown: Sequence[Table]
    rows: int = 0
    failures: int = 0
    hint: str = ""
    is_noop: bool = False

    def show(self, json: bool) -> None:
        """On stdout."""
        if json:
            console.print_json(self.result)
        else:
            console.print_result(self.heading, *self.shown)


def finished(summary: "RunSummary", inputs: Inputs | None = None) -> Delivery:
    """Of a run."""
    result = {**summary.to_dict(), **({"inputs": inputs.to_dict()} if inputs else {})}
    shown = _summary_tables(summary, inputs)
    hint = "" if "://" in summary.out else f"look at it: nerx view {summary.out}"
    return Delivery(result, summary.out, shown, summary.rows, summary.failures, hint)


def estimated(estimate: "DryRun", inputs: Inputs | None = None) -> Delivery:
    """Of a dry run."""
    result = {**estimate.to_dict(), **({"inputs": inputs.to_dict()} if inputs else {})}
    return Delivery(result, "Dry run: nothing was written", _estimate_tables(estimate, inputs))


def _summary_tables(summary: "RunSummary", inputs: Inputs | None) -> list[Table]:
    facts = [
        *([inputs.fact] if inputs else []),
        ("rows", f"{summary.rows:,}" + (f", {summary.resumed_rows:,} of them earlier" if summary.resumed_rows else "")),
        ("texts", f"{summary.texts:,}, {summary.characters_read:,} of their {summary.characters_in:,} characters read"),
        *([("read before", f"{summary.repeats:,} texts like one above them")] if summary.repeats else []),
        ("failed rows", f"{summary.failures:,}" + (", see the column nerx_error" if summary.failures else "")),
        ("entities", f"{summary.entities:,}"),
        ("time", _pace(summary)),
    ]
    shown = [tables.fact_table(facts)]
    if summary.entities_per_label:
        shown.append(tables.count_table(summary.entities_per_label))
    return shown


def _pace(summary: "RunSummary") -> str:
    took = duration(summary.seconds)
    if summary.seconds <= 0:
        return took
    return f"{took}, {summary.rows / summary.seconds:,.0f} rows/s, {summary.tokens / summary.seconds:,.0f} tokens/s"


def _estimate_tables(estimate: "DryRun", inputs: Inputs | None) -> list[Table]:
    facts = [
        *([inputs.fact] if inputs else []),
        ("rows", f"{estimate.rows:,}"),
        ("texts", f"{estimate.texts:,}"),
        ("characters", f"{estimate.characters:,}"),
        ("tokens", "-" if estimate.tokens is None else f"about {estimate.tokens:,}, prompt and output"),
        ("time here", "-" if estimate.seconds is None else f"about {duration(estimate.seconds)}"),
    ]
    return [tables.fact_table(facts)]


def tick(state: "Progress") -> Tick:
    """Progress of a run, for the display."""
    stats = [f"{state.entities:,} entities"]
    facts: dict[str, float] = {"entities": state.entities, "failures": state.failures, "tokens": state.tokens}
    if state.seconds > 0:
        facts |= {"rows_per_second": state.rows / state.seconds, "tokens_per_second": state.tokens / state.seconds}
        stats = [f"{state.rows / state.seconds:,.0f} rows/s", f"{state.tokens / state.seconds:,.0f} tokens/s", *stats]
    if state.failures:
        stats.append(f"{state.failures:,} failed")
    return Tick("extracting", state.rows, state.total_rows, "rows", tuple(stats), facts)
