"""What `nerx extract` prints at its end, as JSON and as tables, and the line that shows how far it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from . import console, tables
from .progress import Tick, duration

if TYPE_CHECKING:
    from ..engine.run.summary import DryRun, Inputs, Progress, RetrySummary, RunSummary

_NAMED = 5
"""Number of inputs that the note about missing inputs names. --json names all."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The result of a command: as JSON, as tables under a heading, and how many rows failed."""

    result: Mapping[str, Any]
    heading: str
    shown: Sequence[Table]
    rows: int = 0
    failures: int = 0
    hint: str = ""
    is_noop: bool = False

    def show(self, json: bool) -> None:
        """Print it on stdout."""
        if json:
            console.print_json(self.result)
        else:
            console.print_result(self.heading, *self.shown)


def finished(summary: "RunSummary") -> Delivery:
    """The result of a finished run of any kind."""
    if summary.retry is not None:
        return _retried(summary.retry, summary)
    if summary.inputs is not None and summary.is_noop:
        return _nothing_new(summary.out, summary.inputs, summary.left_out)
    hint = "" if "://" in summary.out else f"look at it: nerx view {summary.out}"
    shown = _summary_tables(summary)
    return Delivery(summary.to_dict(), summary.out, shown, summary.rows, summary.failures, hint)


def stopped(summary: "RunSummary", total_rows: int) -> str:
    """The note about a run that a signal has ended."""
    if summary.retry is not None:
        return f"stopped: {summary.retry.retried:,} rows were retried and are kept; run the same command again"
    return f"stopped: {summary.rows:,} of {total_rows:,} rows are kept; run the same command again to go on"


def estimated(estimate: "DryRun", out: Path) -> Delivery:
    """The result of a dry run for the output `out`."""
    if estimate.inputs is not None and estimate.is_noop:
        return _nothing_new(str(out), estimate.inputs, estimate.left_out)
    return Delivery(estimate.to_dict(), "Dry run: nothing was written", _estimate_tables(estimate))


def gone(inputs: "Inputs") -> str:
    """The note about inputs that are gone."""
    rest = len(inputs.gone) - _NAMED
    names = ", ".join(inputs.gone[:_NAMED]) + (f" and {rest:,} more" if rest > 0 else "")
    fate = "nerx drops their rows" if inputs.pruned else "their rows stay; --prune drops them"
    return f"{len(inputs.gone):,} inputs are gone ({fate}): {names}"


def _nothing_new(out: str, inputs: "Inputs", left_out: Sequence[str]) -> Delivery:
    result = {"out": out, "rows": 0, "failures": 0, "inputs": inputs.to_dict()}
    result |= {"left_out": list(left_out)} if left_out else {}
    facts = [*_input_facts(inputs), *_left_out(left_out)]
    return Delivery(result, f"{out}: nothing new", [tables.fact_table(facts)], is_noop=True)


def _retried(retry: "RetrySummary", summary: "RunSummary") -> Delivery:
    if summary.is_noop:
        result = {"out": retry.out, "retried": 0, "failures": 0}
        return Delivery(result, f"{retry.out}: no row has failed", [], is_noop=True)
    facts = [
        ("rows", f"{retry.rows:,}"),
        ("retried", f"{retry.retried:,}, {retry.recovered:,} of them fine now"),
        ("failed rows", _failed(retry.failures)),
        ("entities", f"{retry.entities:,} in the rows retried"),
        ("time", duration(retry.seconds)),
    ]
    return Delivery(retry.to_dict(), retry.out, [tables.fact_table(facts)], retry.rows, retry.failures)


def _input_facts(inputs: "Inputs | None") -> list[tuple[str, str]]:
    """The number of inputs of each kind."""
    if inputs is None:
        return []
    counts = {
        "new": inputs.new,
        "changed": inputs.changed,
        "renamed": inputs.renamed,
        "unchanged": inputs.unchanged,
        "gone": len(inputs.gone),
    }
    return [("inputs", ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "none")]


def _left_out(paths: Sequence[str]) -> list[tuple[str, str]]:
    """What lies among the inputs and was not read."""
    if not paths:
        return []
    rest = len(paths) - _NAMED
    names = ", ".join(paths[:_NAMED]) + (f" and {rest:,} more" if rest > 0 else "")
    return [("not read", f"{len(paths):,} of another kind: {names}")]


def _failed(failures: int) -> str:
    return f"{failures:,}" + (", see the column nerx_error" if failures else "")


def _summary_tables(summary: "RunSummary") -> list[Table]:
    facts = [
        *_input_facts(summary.inputs),
        *_left_out(summary.left_out),
        ("rows", f"{summary.rows:,}" + (f", {summary.resumed_rows:,} of them earlier" if summary.resumed_rows else "")),
        ("texts", f"{summary.texts:,}, {summary.characters_read:,} of their {summary.characters_in:,} characters read"),
        *([("read before", f"{summary.repeats:,} texts like one above them")] if summary.repeats else []),
        ("failed rows", _failed(summary.failures)),
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


def _estimate_tables(estimate: "DryRun") -> list[Table]:
    facts = [
        *_input_facts(estimate.inputs),
        *_left_out(estimate.left_out),
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
