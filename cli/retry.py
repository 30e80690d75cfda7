"""`nerx extract --retry-failed`: the failed rows of a finished output once more."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..engine.origin import Origin
from .interrupt import Interrupt
from .progress import Display, Tick, duration

if TYPE_CHECKING:
    from ..engine.run.pipeline import TextExtractor
    from ..engine.run.summary import Progress, RetrySummary

_STOPPING = "stopping after this batch (run the same command again to go on); once more stops at once"


def retry(
    out: Path,
    origin: Origin,
    load: "Callable[[], TextExtractor]",
    tick: "Callable[[Progress], Tick]",
    display: Display,
) -> "RetrySummary | None":
    """Retry the failed rows of `out`; None when it has none, and then nothing is loaded.

    Raises typer.Exit after a signal, when what was retried is kept.
    """
    from ..engine.run.retry import FailedRows

    with FailedRows(out) as failed:
        if not failed.count:
            return None
        failed.require_made_with(origin)
        display.show(Tick("loading"))
        extractor = load()
        with Interrupt(lambda: display.note(_STOPPING, "stopping")) as interrupt:
            summary = failed.retry(
                extractor, progress=lambda at: display.show(tick(at)), stop=lambda: interrupt.requested
            )
        if summary.interrupted:
            display.note(
                f"stopped: {summary.retried:,} rows were retried and are kept; run the same command again", "stopped"
            )
            raise typer.Exit(interrupt.exit_code)
    return summary


def retry_facts(summary: "RetrySummary") -> list[tuple[str, str]]:
    """The summary in lines."""
    return [
        ("rows", f"{summary.rows:,}"),
        ("retried", f"{summary.retried:,}, {summary.recovered:,} of them fine now"),
        ("failed rows", f"{summary.failures:,}" + (", see the column nerx_error" if summary.failures else "")),
        ("entities", f"{summary.entities:,} in the rows retried"),
        ("time", duration(summary.seconds)),
    ]
