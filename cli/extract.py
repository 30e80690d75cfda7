"""`nerx extract`: options -> engine.pipeline.run(corpus, extractor, sink) -> a summary."""

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from .. import __version__
from ..engine.errors import InputError, TooManyFailuresError
from . import console, tables
from .interrupt import Interrupt
from .options import (
    RUNNING,
    BaseOption,
    Device,
    DeviceOption,
    JsonOption,
    LogFormatOption,
    MetricsOption,
    OverwriteOption,
    QuietOption,
    ReportOption,
)
from .progress import Display, Tick, duration, progress
from .reporting import Reporting

if TYPE_CHECKING:
    from ..engine.corpus import Corpus
    from ..engine.extractor import Extractor
    from ..engine.pipeline import DryRun, Progress, RunSummary
    from ..engine.sink import Sink

_READING = "Reading"
_WRITING = "Writing"

BATCH_ROWS = {True: 256, False: 4096}
"""Rows between two looks at progress and signals, on a CPU and on a GPU: seconds, and some full forward passes."""

_RESUME = "run the same command again to go on"
_STOPPING = f"stopping after this batch ({_RESUME}); once more stops at once"


class TextUnit(StrEnum):
    LINE = "line"
    FILE = "file"


def extract(
    context: typer.Context,
    corpus: Annotated[
        list[str],
        typer.Argument(
            metavar="CORPUS", help="Parquet, JSONL, CSV or text: files, folders, globs.", show_default=False
        ),
    ],
    adapter: Annotated[
        Path, typer.Option(metavar="DIR", envvar="NERX_ADAPTER", help="The adapter that `nerx fit` made.")
    ] = Path("nerx-adapter"),
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="A .parquet file or a folder.", show_default="CORPUS.nerx.parquet beside the input"
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    text_column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The column to read.", show_default="found", rich_help_panel=_READING),
    ] = None,
    id_column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A row's key; never taken for the text.", rich_help_panel=_READING),
    ] = None,
    text_unit: Annotated[
        TextUnit, typer.Option(help="What a text is in .txt files.", rich_help_panel=_READING)
    ] = TextUnit.LINE,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Stop after so many rows.", rich_help_panel=_READING)
    ] = None,
    min_score: Annotated[
        float,
        typer.Option(metavar="P", min=0, max=1, help="Leave out entities less probable.", rich_help_panel=_WRITING),
    ] = 0.0,
    max_failures: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Exit with 3 when more rows failed.",
            show_default="any number",
            rich_help_panel=_WRITING,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar="", help="Count rows and tokens, estimate the time, write nothing.")
    ] = False,
    batch_tokens: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Tokens in flight; less needs less memory.",
            show_default="by device",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    device: DeviceOption = Device.AUTO,
    base: BaseOption = None,
    report: ReportOption = None,
    metrics: MetricsOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    log_format: LogFormatOption = console.LogFormat.TEXT,  # noqa: ARG001  # its callback acts
) -> None:
    """Read a corpus: write every row again, with its entities.

    Rows, their order and all other columns stay as they are. The new column
    `entities` lists start, end, label, text and score; text\\[start:end] is
    the entity, always. A row that failed says why in `nerx_error`. A run that
    was stopped goes on when the same command is given again.

    [bold not dim]Examples[/]

      [cyan]nerx extract corpus.parquet[/]
      [cyan]nerx extract corpus.parquet --dry-run[/]
      [cyan]nerx extract reviews.csv --text-column body --min-score 0.5[/]
      [cyan]nerx extract 'logs/2025-*.jsonl' --out enriched.parquet[/]
    """
    account = context.with_resource(Reporting(report, None if dry_run else metrics, context.params))
    with progress(quiet) as display:
        display.show(Tick("reading"))
        from ..engine import pipeline
        from ..engine.card import AdapterCard
        from ..engine.corpus import open_corpus
        from ..engine.output import check_output

        # What can be refused at once is asked before files are read through and a model is loaded.
        target = account.out = out or default_output(corpus)
        if not dry_run:
            check_output(target, overwrite=overwrite)
        card = AdapterCard.read(adapter)
        opened = open_corpus(
            corpus, text_column=text_column, id_column=id_column, limit=limit, text_unit=text_unit.value
        )
        account.digests = {"adapter": card.digest, "base": card.base_digest, "input": opened.digest}
        display.show(Tick("loading"))
        from ..engine.extractor import Extractor

        extractor = Extractor.load(
            adapter, device=device.value, base=base, batch_tokens=batch_tokens, min_score=min_score
        )
        opened = replace(opened, batch_rows=BATCH_ROWS[extractor.model.device.type == "cpu"])
        if dry_run:
            display.show(Tick("counting"))
            estimate = pipeline.dry_run(opened, extractor)
        else:
            options = {"min_score": min_score}
            origin = {"version": __version__, "base": card.base, "base_digest": card.base_digest}
            sink = pipeline.open_sink(
                target, opened, extractor, options=options, provenance=origin, overwrite=overwrite
            )
            summary = _run(opened, extractor, sink, display, account)
    if dry_run:
        account.counts = estimate.to_dict()
        _deliver(account.counts, "Dry run: nothing was written", _estimate_tables(estimate), json)
        return
    _deliver(account.counts, summary.out, _summary_tables(summary), json)
    if not json:
        console.note(f"look at it: nerx view {summary.out}", event="hint", quiet=quiet)
    if max_failures is not None and summary.failures > max_failures:
        raise TooManyFailuresError(
            f"{summary.failures:,} rows failed, more than --max-failures {max_failures:,}; the output is complete, and "
            "its column nerx_error says why"
        )


def _run(corpus: "Corpus", extractor: "Extractor", sink: "Sink", display: Display, account: Reporting) -> "RunSummary":
    """The run, with progress; a signal ends it, and the command, after the batch at hand."""
    from ..engine import pipeline

    account.kept = lambda: pipeline.RunSummary.of(
        sink.tally(), corpus, sink, resumed_rows=0, interrupted=True
    ).to_dict()
    with Interrupt(lambda: display.note(_STOPPING, "stopping")) as interrupt:
        summary = pipeline.run(
            corpus, extractor, sink, progress=lambda at: display.show(_tick(at)), stop=lambda: interrupt.requested
        )
    account.counts = summary.to_dict()
    if summary.interrupted:
        display.note(f"stopped: {summary.rows:,} of {corpus.rows:,} rows are kept; {_RESUME}", "stopped")
        raise typer.Exit(interrupt.exit_code)
    return summary


def default_output(corpus: list[str]) -> Path:
    """`CORPUS.nerx.parquet` beside a single input; raises InputError where "beside" has no one meaning."""
    if len(corpus) > 1 or (set("*?[") & set(corpus[0]) and not Path(corpus[0]).exists()):
        raise InputError("several inputs: say with --out where the result goes")
    source = Path(corpus[0])
    stem = source.name if source.is_dir() else source.name.removesuffix(".gz").rpartition(".")[0]
    return source.with_name(f"{stem or source.resolve().name}.nerx.parquet")


def _deliver(result: Mapping[str, Any], heading: str, shown: list[Table], json: bool) -> None:
    if json:
        console.print_json(result)
    else:
        console.print_result(heading, *shown)


def _summary_tables(summary: "RunSummary") -> list[Table]:
    facts = [
        ("rows", f"{summary.rows:,}" + (f", {summary.resumed_rows:,} of them earlier" if summary.resumed_rows else "")),
        ("texts", f"{summary.texts:,}, {summary.characters_read:,} of their {summary.characters_in:,} characters read"),
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


def _estimate_tables(estimate: "DryRun") -> list[Table]:
    facts = [
        ("rows", f"{estimate.rows:,}"),
        ("texts", f"{estimate.texts:,}"),
        ("characters", f"{estimate.characters:,}"),
        ("tokens", "-" if estimate.tokens is None else f"about {estimate.tokens:,}, prompt and output"),
        ("time here", "-" if estimate.seconds is None else f"about {duration(estimate.seconds)}"),
    ]
    return [tables.fact_table(facts)]


def _tick(state: "Progress") -> Tick:
    stats = [f"{state.entities:,} entities"]
    facts: dict[str, float] = {"entities": state.entities, "failures": state.failures, "tokens": state.tokens}
    if state.seconds > 0:
        facts |= {"rows_per_second": state.rows / state.seconds, "tokens_per_second": state.tokens / state.seconds}
        stats = [f"{state.rows / state.seconds:,.0f} rows/s", f"{state.tokens / state.seconds:,.0f} tokens/s", *stats]
    if state.failures:
        stats.append(f"{state.failures:,} failed")
    return Tick("extracting", state.rows, state.total_rows, "rows", tuple(stats), facts)
