"""`nerx bench`: an adapter on some of a corpus's texts -> engine.review.pace.measure -> a table."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ..engine.errors import InputError
from . import console, options, tables
from .progress import Tick, progress

if TYPE_CHECKING:
    from ..engine.review.pace import Pace
    from ..engine.tagging.extractor import Extractor
    from ..engine.tagging.loading import Precision

TEXTS = 200


def bench(
    corpus: Annotated[
        list[str], typer.Argument(metavar="CORPUS", help="What to read, as for `nerx extract`.", show_default=False)
    ],
    adapter: options.AdapterOption = options.ADAPTER,
    texts: Annotated[int, typer.Option(metavar="N", min=1, help="Number of texts to draw from the corpus.")] = TEXTS,
    precision: Annotated[
        list[options.Precision] | None,
        typer.Option(help="Number format of the weights. You can give several.", show_default="all that run here"),
    ] = None,
    text_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="The column to read.", show_default="found")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="CPU threads.", show_default="PyTorch's choice")
    ] = None,
    device: options.DeviceOption = options.Device.AUTO,
    base: options.BaseOption = None,
    report: options.ReportOption = None,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    log_format: options.LogFormatOption = console.LogFormat.TEXT,  # noqa: ARG001  # its callback acts
) -> None:
    """Time an adapter on your texts and your machine.

    nerx times each way to extract on the same texts. The column `x one pass`
    compares it with one pass over prompt and answer. No way can be faster
    than that pass. The column `agrees` compares the entities with those of
    the first row `exact`: it is their F1 in percent.

    [bold not dim]Examples[/]

      [cyan]nerx bench corpus.parquet[/]
      [cyan]nerx bench corpus.parquet --texts 1000 --precision float32 --precision int8[/]
    """
    with progress(quiet) as display:
        display.show(Tick("reading"))
        from ..engine.reading.corpus import open_corpus
        from ..engine.run.estimate import survey

        counted, sample = survey(open_corpus(corpus, text_column=text_column), texts)
        if not any(sample):
            raise InputError(f"{', '.join(corpus)}: no text in it to time")
        display.show(Tick("loading"))
        from ..engine.review.pace import measure
        from ..engine.tagging.extractor import Extractor
        from ..engine.tagging.loading import pick_device, use_threads

        working = use_threads(threads)
        target = pick_device(device.value).type
        usual: list[Precision] = ["float32", "bfloat16", "int8"] if target == "cpu" else ["auto"]
        chosen: list[Precision] = [one.value for one in precision] if precision else usual

        def load(one: "Precision") -> "Extractor":
            return Extractor.load(adapter, device=device.value, base=base, precision=one)

        paces = []
        for pace in measure(load, sample, chosen):
            paces.append(pace)
            display.show(Tick(f"timing {pace.precision}", len(paces), 4 * len(chosen), "ways", ()))
    facts = {
        "texts": sum(map(bool, sample)),
        "corpus_texts": counted.texts,
        "device": target,
        "threads": working,
        "paces": [pace.to_dict() for pace in paces],
    }
    if report:
        console.write_json(report, facts)
    if json:
        console.print_json(facts)
        return
    threads_used = "1 thread" if working == 1 else f"{working} threads"
    where = f"{target}, {threads_used}" if target == "cpu" else target
    console.print_result(f"{facts['texts']:,} of {counted.texts:,} texts on {where}", _table(paces))


def _table(paces: list["Pace"]) -> Table:
    table = tables.plain_table()
    table.add_column("way")
    table.add_column("precision")
    for name in ("texts/s", "tokens/s", "x one pass", "rounds", "agrees"):
        table.add_column(name, justify="right")
    for at, pace in enumerate(paces):
        if at and pace.precision != paces[at - 1].precision:
            table.add_section()
        agreement = "" if pace.agreement is None else f"{pace.agreement:.1f}"
        rounds = f"{pace.rounds:.2f}" if pace.rounds else ""
        cells = (f"{pace.texts_a_second:,.1f}", f"{pace.tokens_a_second:,.0f}", f"{pace.times_one_pass:.2f}")
        table.add_row(pace.way, pace.precision, *cells, rounds, agreement)
    return table
