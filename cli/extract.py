"""`nerx extract`: options -> engine.pipeline.run(corpus, extractor, sink) -> a summary."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from .. import __version__
from ..engine.errors import InputError, TooManyFailuresError
from . import console, tables
from .interrupt import Interrupt
from .options import RUNNING, BaseOption, Device, DeviceOption, JsonOption, OverwriteOption, QuietOption, ReportOption
from .progress import Tick, duration, progress

if TYPE_CHECKING:
    from ..engine.card import AdapterCard
    from ..engine.pipeline import DryRun, Progress, RunSummary

_READING = "Reading"
_WRITING = "Writing"

_RESUME = "run the same command again to go on"
_STOPPING = f"stopping after this batch ({_RESUME}); once more stops at once"


class TextUnit(StrEnum):
    LINE = "line"
    FILE = "file"


def extract(
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
        str | None, typer.Option(metavar="NAME", help="A column that names rows in messages.", rich_help_panel=_READING)
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
    json: JsonOption = False,
    quiet: QuietOption = False,
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
    with progress(quiet) as show:
        show(Tick("reading"))
        from ..engine import pipeline
        from ..engine.corpus import open_corpus
        from ..engine.output import check_output

        target = out or default_output(corpus)
        if not dry_run:
            check_output(target, overwrite=overwrite)  # before minutes go into reading files and loading a model
        opened = open_corpus(
            corpus, text_column=text_column, id_column=id_column, limit=limit, text_unit=text_unit.value
        )
        show(Tick("loading"))
        from ..engine.extractor import Extractor  # loads torch: after all that can be refused without it

        extractor = Extractor.load(
            adapter, device=device.value, base=base, batch_tokens=batch_tokens, min_score=min_score
        )
        if dry_run:
            show(Tick("counting"))
            estimate = pipeline.dry_run(opened, extractor)
            _deliver(estimate.to_dict(), _estimate_tables(estimate), report, json)
            return
        sink = pipeline.open_sink(
            target,
            opened,
            extractor,
            options={"min_score": min_score},
            provenance=_provenance(extractor.card),
            overwrite=overwrite,
        )
        with Interrupt(lambda: console.notes().print(_STOPPING)) as interrupt:
            summary = pipeline.run(
                opened, extractor, sink, progress=lambda at: show(_tick(at)), stop=lambda: interrupt.requested
            )
    if summary.interrupted:
        console.notes().print(f"stopped: {summary.rows:,} of {opened.rows:,} rows are kept; {_RESUME}")
        raise typer.Exit(interrupt.exit_code)
    _deliver(summary.to_dict(), _summary_tables(summary), report, json)
    if not json:
        console.notes(quiet).print(f"look at it: nerx view {summary.out}", style="dim", soft_wrap=True)
    if max_failures is not None and summary.failures > max_failures:
        raise TooManyFailuresError(
            f"{summary.failures:,} rows failed, more than --max-failures {max_failures:,}; the output is complete, and "
            "its column nerx_error says why"
        )


def default_output(corpus: list[str]) -> Path:
    """`CORPUS.nerx.parquet` beside a single input; raises InputError where "beside" has no one meaning."""
    if len(corpus) > 1 or (set("*?[") & set(corpus[0]) and not Path(corpus[0]).exists()):
        raise InputError("several inputs: say with --out where the result goes")
    source = Path(corpus[0])
    stem = source.name if source.is_dir() else source.name.removesuffix(".gz").rpartition(".")[0]
    return source.with_name(f"{stem or source.resolve().name}.nerx.parquet")


def _provenance(card: "AdapterCard") -> dict[str, str]:
    return {"version": __version__, "base": card.base, "base_digest": card.base_digest}


def _deliver(result: dict[str, Any], shown: list[Table], report: Path | None, json: bool) -> None:
    if report:
        console.write_json(report, result)
    if json:
        console.print_json(result)
    else:
        for table in shown:
            console.result().print(table)


def _summary_tables(summary: "RunSummary") -> list[Table]:
    facts = [
        ("rows", f"{summary.rows:,}" + (f", {summary.resumed_rows:,} of them earlier" if summary.resumed_rows else "")),
        ("texts", f"{summary.texts:,}, {summary.characters_read:,} of {summary.characters_in:,} characters read"),
        ("failed rows", f"{summary.failures:,}" + (", see the column nerx_error" if summary.failures else "")),
        ("entities", f"{summary.entities:,}"),
        ("time", _pace(summary)),
    ]
    shown = [tables.fact_table(facts, summary.out)]
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
    return [tables.fact_table(facts, "Dry run: nothing was written")]


def _tick(state: "Progress") -> Tick:
    stats = [f"{state.entities:,} entities"]
    if state.seconds > 0:
        stats = [f"{state.rows / state.seconds:,.0f} rows/s", f"{state.tokens / state.seconds:,.0f} tokens/s", *stats]
    if state.failures:
        stats.append(f"{state.failures:,} failed")
    return Tick("extracting", state.rows, state.total_rows, "rows", tuple(stats))
