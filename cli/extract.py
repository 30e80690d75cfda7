"""`nerx extract`: options -> engine.run.pipeline.run(corpus, extractor, sink) -> a summary."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..engine.origin import Origin
from ..engine.reading.share import Share
from ..engine.version import __version__
from . import console, failures, options, tables
from .backend import Backend, Loaded, loaded
from .clashes import refuse_clashes
from .incremental import Growth, Inputs
from .interrupt import Interrupt
from .place import default_output
from .progress import Display, Tick, progress
from .reporting import Reporting
from .summary import Delivery, estimated, finished, tick

if TYPE_CHECKING:
    from ..engine.reading.corpus import Corpus
    from ..engine.run.pipeline import RunSink
    from ..engine.run.summary import RunSummary
    from ..engine.tagging.extractor import Extractor
    from ..engine.writing.output import Output

_READING = "Reading"
_WRITING = "Writing"
_REPEATING = "Again and again, and on several machines"

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
            metavar="CORPUS", help="Parquet, JSONL, CSV or text: files, folders, globs, URIs.", show_default=False
        ),
    ],
    adapter: options.AdapterOption = options.ADAPTER,
    out: options.OutOption = None,
    overwrite: options.OverwriteOption = False,
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
        float | None,
        typer.Option(
            metavar="P",
            min=0,
            max=1,
            help="Leave out entities less probable; by default as the adapter says.",
            rich_help_panel=_WRITING,
        ),
    ] = None,
    max_failures: Annotated[
        str,
        typer.Option(metavar="N|N%", help="Exit with 3 when more rows failed.", rich_help_panel=_WRITING),
    ] = failures.DEFAULT,
    incremental: Annotated[
        bool,
        typer.Option(
            "--incremental",
            metavar="",
            help="Add what is new or changed to the folder --out.",
            rich_help_panel=_REPEATING,
        ),
    ] = False,
    prune: Annotated[
        bool,
        typer.Option("--prune", metavar="", help="Drop rows of inputs that are gone.", rich_help_panel=_REPEATING),
    ] = False,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed", metavar="", help="Only rows of --out that failed, again.", rich_help_panel=_REPEATING
        ),
    ] = False,
    noop_code: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, max=255, help="Exit with N when nothing was to do.", rich_help_panel=_REPEATING
        ),
    ] = 0,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Do part I of N; the folder --out is shared.",
            show_default=False,
            rich_help_panel=_REPEATING,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar="", help="Count rows and tokens, estimate the time, write nothing.")
    ] = False,
    batch_tokens: options.BatchTokensOption = None,
    mode: options.ModeOption = options.Mode.EXACT,
    precision: options.PrecisionOption = options.Precision.AUTO,
    backend: options.BackendOption = Backend.LOCAL,
    workers: options.WorkersOption = None,
    work_dir: options.WorkDirOption = None,
    device: options.DeviceOption = options.Device.AUTO,
    base: options.BaseOption = None,
    report: options.ReportOption = None,
    metrics: options.MetricsOption = None,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    log_format: options.LogFormatOption = console.LogFormat.TEXT,  # noqa: ARG001  # its callback acts
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
      [cyan]nerx extract lake/ --incremental --out enriched[/]
      [cyan]nerx extract s3://lake/reviews/ --out s3://lake/enriched[/]
    """
    account = context.with_resource(Reporting(report, None if dry_run else metrics, context.params))
    allowed = failures.FailureLimit.parse(max_failures)
    refuse_clashes(
        {
            "--incremental": incremental,
            "--retry-failed": retry_failed,
            "--shard": shard,
            "--limit": limit,
            "--overwrite": overwrite,
            "--dry-run": dry_run,
            "--prune": prune,
            "--noop-code": noop_code,
            "--text-unit file": text_unit is TextUnit.FILE,
            "an --out in a store": out is not None and "://" in out,
            "--backend ray": backend is Backend.RAY,
            "--workers": workers,
        }
    )
    share = Share.parse(shard) if shard else None
    target = Path(out) if out else default_output(corpus, folder=incremental or share is not None)
    account.out = target
    with progress(quiet) as display, ExitStack() as stack:
        display.show(Tick("reading"))
        from ..engine.tagging.card import AdapterCard

        card = AdapterCard.read(adapter)
        min_score = account.options["min_score"] = card.min_score if min_score is None else min_score
        account.digests = {"adapter": card.digest, "base": card.base_digest}
        chosen: dict[str, Any] = {"min_score": min_score, "mode": mode.value, "precision": precision.value}
        origin = Origin(card.digest, chosen, card.base, card.base_digest, __version__, text_column)
        reading: dict[str, Any] = {"text_column": text_column, "id_column": id_column, "text_unit": text_unit.value}
        settings = {"device": device.value, "base": base, "batch_tokens": batch_tokens}
        settings |= chosen
        load = partial(
            _load, display, stack, Backend.LOCAL if dry_run else backend, workers, adapter, card.digest, **settings
        )
        if retry_failed:
            delivery = _retry(target, replace(origin, text_column=None), lambda: load().extractor, display)
        elif incremental and not (dry_run and overwrite):  # such a dry run is about all inputs
            with Growth(corpus, target, origin, overwrite=overwrite, prune=prune) as growth:
                delivery = _grow(growth, reading, origin, load, display, account, dry_run=dry_run)
        elif dry_run:
            from ..engine.reading.corpus import open_corpus

            reading.update(limit=limit, share=share)
            delivery = _estimate(open_corpus(corpus, **reading), load, display)
        else:
            from ..engine.writing.output import open_output

            place = open_output(out or target, work_dir, share=share)
            delivery = _extract(
                corpus, place, {**reading, "limit": limit, "share": share}, origin, overwrite, load, display, account
            )
    account.counts = delivery.result
    delivery.show(json)
    if delivery.hint and not json:
        console.note(delivery.hint, event="hint", quiet=quiet)
    if delivery.is_noop:
        raise typer.Exit(noop_code)
    allowed.require(delivery.failures, delivery.rows)


def _load(display: Display, stack: ExitStack, *how: Any, **settings: Any) -> Loaded:
    display.show(Tick("loading"))
    return stack.enter_context(loaded(*how, **settings))


def _extract(
    paths: list[str],
    target: "Output",
    reading: Mapping[str, Any],
    origin: Origin,
    overwrite: bool,
    load: Callable[[], Loaded],
    display: Display,
    account: Reporting,
) -> Delivery:
    """Everything in `paths`, or a share of it, into a new output."""
    from ..engine.reading.corpus import open_corpus
    from ..engine.writing.output import require_free
    from ..engine.writing.sink import Sink

    # What can be refused at once is asked before files are read through and a model is loaded.
    require_free(target, overwrite=overwrite)
    opened = open_corpus(paths, **reading)
    work = load()
    sink = Sink(target, opened, origin, overwrite=overwrite)
    return finished(_run(opened, work, sink, display, account))


def _grow(
    growth: Growth,
    reading: Mapping[str, Any],
    origin: Origin,
    load: Callable[[], Loaded],
    display: Display,
    account: Reporting,
    *,
    dry_run: bool,
) -> Delivery:
    """What is new or changed, added to a folder."""
    inputs = growth.inputs
    if inputs.note:
        display.note(inputs.note)
    opened = growth.open(**reading)
    if opened is None:
        if not dry_run:
            growth.finish()
        result = {"out": str(growth.out), "rows": 0, "failures": 0, "inputs": inputs.to_dict()}
        return Delivery(result, f"{growth.out}: nothing new", [tables.fact_table([inputs.fact])], is_noop=True)
    if dry_run:
        return _estimate(opened, load, display, inputs)
    work = load()
    return finished(_run(opened, work, growth.sink(opened, origin), display, account), inputs)


def _retry(
    target: Path,
    origin: Origin,
    load: "Callable[[], Extractor]",
    display: Display,
) -> Delivery:
    """The failed rows of a finished output."""
    from .retry import retry, retry_facts

    summary = retry(target, origin, load, tick, display)
    if summary is None:
        result = {"out": str(target), "retried": 0, "failures": 0}
        return Delivery(result, f"{target}: no row has failed", [], is_noop=True)
    return Delivery(
        summary.to_dict(), summary.out, [tables.fact_table(retry_facts(summary))], summary.rows, summary.failures
    )


def _run(corpus: "Corpus", work: Loaded, sink: "RunSink", display: Display, account: Reporting) -> "RunSummary":
    """The run, with progress; a signal ends it, and the command, after the batch at hand."""
    from ..engine.run.summary import RunSummary

    account.digests["input"] = corpus.digest
    account.kept = lambda: RunSummary.of(
        sink.tally(), shards=len(corpus.shards()), out=sink.name, resumed_rows=0, interrupted=True
    ).to_dict()
    corpus = replace(corpus, batch_rows=work.batch_rows)
    with Interrupt(lambda: display.note(_STOPPING, "stopping")) as interrupt:
        summary = work.run(
            corpus, work.extractor, sink, progress=lambda at: display.show(tick(at)), stop=lambda: interrupt.requested
        )
    account.counts = summary.to_dict()
    if summary.interrupted:
        display.note(f"stopped: {summary.rows:,} of {corpus.rows:,} rows are kept; {_RESUME}", "stopped")
        raise typer.Exit(interrupt.exit_code)
    return summary


def _estimate(corpus: "Corpus", load: Callable[[], Loaded], display: Display, inputs: Inputs | None = None) -> Delivery:
    from ..engine.run.estimate import dry_run

    work = load()
    display.show(Tick("counting"))
    return estimated(dry_run(replace(corpus, batch_rows=work.batch_rows), work.extractor), inputs)
