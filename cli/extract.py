"""`nerx extract`: options -> ExtractConfig -> engine.run.extract.extract(config) -> a summary."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from ..engine.run.config import DEFAULTS, ExtractConfig
from . import console, options
from .interrupt import Interrupt
from .progress import Display, Tick, progress
from .reporting import Reporting
from .summary import Delivery, estimated, finished, gone, stopped, tick

if TYPE_CHECKING:
    from ..engine.run.summary import ExtractEvent

_READING = "Reading"
_WRITING = "Writing"
_REPEATING = "Again and again, and on several machines"
_STOPPING = "stopping after this batch (run the same command again to go on); a second signal stops at once"


class TextUnit(StrEnum):
    LINE = "line"
    FILE = "file"


TEXT_UNIT = TextUnit(DEFAULTS["text_unit"])


def extract(
    context: typer.Context,
    corpus: Annotated[
        list[str],
        typer.Argument(
            metavar="CORPUS", help="Parquet, JSONL, CSV or text: files, folders, globs, URIs.", show_default=False
        ),
    ],
    adapter: options.AdapterOption = options.ADAPTER,
    out: options.OutOption = DEFAULTS["out"],
    overwrite: options.OverwriteOption = DEFAULTS["overwrite"],
    text_column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The column to read.", show_default="found", rich_help_panel=_READING),
    ] = DEFAULTS["text_column"],
    id_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A column with a key for each row. nerx never takes it for the text.",
            rich_help_panel=_READING,
        ),
    ] = DEFAULTS["id_column"],
    text_unit: Annotated[
        TextUnit, typer.Option(help="What counts as one text in a .txt file.", rich_help_panel=_READING)
    ] = TEXT_UNIT,
    delimiter: options.DelimiterOption = DEFAULTS["delimiter"],
    quote: options.QuoteOption = DEFAULTS["quote"],
    escape: options.EscapeOption = DEFAULTS["escape"],
    infer_types: options.InferTypesOption = DEFAULTS["infer_types"],
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Stop after N rows.", rich_help_panel=_READING)
    ] = DEFAULTS["limit"],
    min_score: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            min=0,
            max=1,
            help="Leave out entities that are less probable than this.",
            show_default="as the adapter says",
            rich_help_panel=_WRITING,
        ),
    ] = DEFAULTS["min_score"],
    max_failures: Annotated[
        str,
        typer.Option(metavar="N|N%", help="Exit with code 3 if more rows fail than this.", rich_help_panel=_WRITING),
    ] = DEFAULTS["max_failures"],
    incremental: Annotated[
        bool,
        typer.Option(
            "--incremental",
            metavar="",
            help="Read only inputs that are new or changed, and add them to the folder --out.",
            rich_help_panel=_REPEATING,
        ),
    ] = DEFAULTS["incremental"],
    prune: Annotated[
        bool,
        typer.Option("--prune", metavar="", help="Drop the rows of inputs that are gone.", rich_help_panel=_REPEATING),
    ] = DEFAULTS["prune"],
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed",
            metavar="",
            help="Extract again from the rows of --out that failed.",
            rich_help_panel=_REPEATING,
        ),
    ] = DEFAULTS["retry_failed"],
    noop_code: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, max=255, help="Exit with code N if there is nothing to do.", rich_help_panel=_REPEATING
        ),
    ] = DEFAULTS["noop_code"],
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Do share I of N. All shares fill the same folder --out.",
            show_default=False,
            rich_help_panel=_REPEATING,
        ),
    ] = DEFAULTS["shard"],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar="", help="Count rows and tokens and estimate the time. Write nothing.")
    ] = False,
    batch_tokens: options.BatchTokensOption = DEFAULTS["batch_tokens"],
    mode: options.ModeOption = options.MODE,
    precision: options.PrecisionOption = options.PRECISION,
    backend: options.BackendOption = options.BACKEND,
    workers: options.WorkersOption = DEFAULTS["workers"],
    work_dir: options.WorkDirOption = DEFAULTS["work_dir"],
    device: options.DeviceOption = options.DEVICE,
    base: options.BaseOption = DEFAULTS["base"],
    report: options.ReportOption = None,
    metrics: options.MetricsOption = None,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    log_format: options.LogFormatOption = console.LogFormat.TEXT,  # noqa: ARG001  # its callback acts
) -> None:
    """Extract from a corpus: copy every row and add its entities.

    nerx adds two columns and changes nothing else. The column `entities` lists
    the start, end, label, text and score of each entity. text\\[start:end] is
    always the entity itself. The column `nerx_error` says why a row failed.

    If a run stops, run the same command again: it continues.

    [bold not dim]Examples[/]

      [cyan]nerx extract corpus.parquet[/]
      [cyan]nerx extract corpus.parquet --dry-run[/]
      [cyan]nerx extract reviews.csv --text-column body --min-score 0.5[/]
      [cyan]nerx extract export.tsv --delimiter tab --quote none[/]
      [cyan]nerx extract 'logs/2025-*.jsonl' --out enriched.parquet[/]
      [cyan]nerx extract lake/ --incremental --out enriched[/]
      [cyan]nerx extract s3://lake/reviews/ --out s3://lake/enriched[/]
    """
    account = context.with_resource(Reporting(report, None if dry_run else metrics, context.params))
    config = ExtractConfig(
        corpus=tuple(corpus), adapter=adapter, out=out, overwrite=overwrite, text_column=text_column,
        id_column=id_column, text_unit=text_unit.value, delimiter=delimiter, quote=quote, escape=escape,
        infer_types=infer_types, limit=limit, min_score=min_score, max_failures=max_failures,
        incremental=incremental, prune=prune, retry_failed=retry_failed, noop_code=noop_code, shard=shard,
        batch_tokens=batch_tokens, mode=mode.value, precision=precision.value, backend=backend.value, workers=workers,
        work_dir=work_dir, device=device.value, base=base,
    )  # fmt: skip
    account.out = config.target
    with progress(quiet) as display:
        display.show(Tick("reading"))
        watch = _Watch(display, account)
        delivery = _estimate(config, watch) if dry_run else _extract(config, watch)
    account.counts = delivery.result
    delivery.show(json)
    if delivery.hint and not json:
        console.note(delivery.hint, event="hint", quiet=quiet)
    if delivery.is_noop:
        raise typer.Exit(config.noop_code)
    config.failure_limit.require(delivery.failures, delivery.rows)


class _Watch:
    """Shows the events of a run, keeps them for the report, and lets a signal stop the run where nothing is lost."""

    def __init__(self, display: Display, account: Reporting) -> None:
        self.display, self.account = display, account
        self.interrupt = Interrupt(lambda: display.note(_STOPPING, "stopping"))
        self.total_rows = 0

    def hear(self, event: "ExtractEvent") -> None:
        match event.stage:
            case "read" if event.origin:
                self.account.options["min_score"] = event.origin.options["min_score"]
                self.account.digests = {"adapter": event.origin.adapter, "base": event.origin.base_digest}
            case "compare" if event.inputs and event.inputs.gone:
                self.display.note(gone(event.inputs))
            case "note" if event.note:
                self.display.note(event.note)
            case "load":
                self.display.show(Tick("loading"))
            case "count":
                self.display.show(Tick("counting"))
            case "begin":
                self.interrupt.arm()  # only now: before, a signal may end the command at once
                self.total_rows = event.total_rows or 0
                if event.input_digest:
                    self.account.digests["input"] = event.input_digest
            case "extract" if event.progress:
                self.display.show(tick(event.progress))
            case "kept" if event.kept:
                self.account.counts = event.kept.to_dict()


def _extract(config: ExtractConfig, watch: _Watch) -> Delivery:
    from ..engine.run.extract import extract as run

    try:
        summary = run(config, watch.hear, lambda: watch.interrupt.requested)
    finally:
        watch.interrupt.disarm()
    if summary.interrupted:
        if summary.retry is None:
            watch.account.counts = summary.to_dict()
        watch.display.note(stopped(summary, watch.total_rows), "stopped")
        raise typer.Exit(watch.interrupt.exit_code)
    return finished(summary)


def _estimate(config: ExtractConfig, watch: _Watch) -> Delivery:
    from ..engine.run.extract import estimate

    return estimated(estimate(config, watch.hear), config.target)
