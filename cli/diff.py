"""`nerx diff`: two outputs -> engine.review.comparison -> a table per label, and an exit code for jobs."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from ..engine.errors import DriftError
from ..engine.span import Span
from . import console, tables
from .highlight import excerpt, highlight, printable
from .options import JsonOption, LogFormatOption, QuietOption
from .progress import Display, Tick, progress

if TYPE_CHECKING:
    from ..engine.review.comparison import Change, Comparison, Difference, LabelChange
    from ..engine.review.enriched import Enriched, Row

    Example = tuple[Row, Change]

EXCERPT = 160
"""Characters of a text that are shown around a changed entity."""

_TICK_ROWS = 10_000


class Per(StrEnum):
    ROWS = "rows"
    CHARACTERS = "characters"


def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="An output of `nerx extract`, a file or a folder.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The output to compare with it.")],
    id_column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Match rows by this column.", show_default="by row order"),
    ] = None,
    text_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="The column with the text.", show_default="as extracted")
    ] = None,
    max_drift: Annotated[
        float | None,
        typer.Option(
            metavar="PERCENT",
            min=0,
            help="Exit with code 3 if the rate of a label moves by more than this.",
            show_default="any",
        ),
    ] = None,
    min_count: Annotated[
        int, typer.Option(metavar="N", min=1, help="Judge only labels with at least N entities in OLD or NEW.")
    ] = 1,
    per: Annotated[
        Per, typer.Option(help="Count the entities of a label per 1,000 rows or per 1,000 characters.")
    ] = Per.ROWS,
    show: Annotated[
        int, typer.Option(metavar="N", min=0, help="Also show N changed entities with the text around them.")
    ] = 0,
    json: JsonOption = False,
    quiet: QuietOption = False,
    log_format: LogFormatOption = console.LogFormat.TEXT,  # noqa: ARG001  # its callback acts
) -> None:
    """Compare two outputs: which entities and which label rates changed.

    nerx compares entities where both outputs have the same text. An entity is
    gained, lost, relabelled or moved. The rate of a label counts its entities
    per 1,000 rows or characters over the whole output. So you can also compare
    this week's corpus with last week's.

    [bold not dim]Examples[/]

      [cyan]nerx diff old.nerx.parquet new.nerx.parquet --show 20[/]
      [cyan]nerx diff monday tuesday --id-column id --max-drift 25 --min-count 50[/]
    """
    with progress(quiet) as display:
        display.show(Tick("opening"))
        from ..engine.review.comparison import Comparison
        from ..engine.review.enriched import Enriched

        opened = [Enriched(path, text_column=text_column, id_column=id_column) for path in (old, new)]
        comparison = Comparison(per.value)
        examples = _compare(opened[0], opened[1], comparison, show, display)
    result = comparison.result()
    over = result.drifted(max_drift / 100, min_count) if max_drift is not None else []
    if json:
        shown = [_plain(row, change) for row, change in examples]
        console.print_json({"drifted": [one.label for one in over], **result.to_dict(), "examples": shown})
    else:
        heading = f"{old} -> {new}"
        console.print_result(heading, _rows_table(result), _label_table(result), *_relabelled(result))
        if examples:
            console.print_result("", _example_table(examples))
        if result.reworded > result.compared:
            console.note(
                "most rows have different texts: is the order of the rows the same? --id-column matches rows by a key",
                quiet=quiet,
            )
    if over:
        said = ", ".join(f"{printable(one.label)} {_percent(one)}" for one in over)
        raise DriftError(f"{len(over)} label rates moved by more than {max_drift:g} %: {said}")


def _compare(
    old: "Enriched", new: "Enriched", comparison: "Comparison", show: int, display: Display
) -> list["Example"]:
    """Count all rows; returns the first `show` changes."""
    from ..engine.review.enriched import matched

    examples: list[Example] = []
    total = max(old.rows, new.rows)
    for done, (before, after) in enumerate(matched(old, new), start=1):
        changes = comparison.add(before, after)
        if after is not None and len(examples) < show:
            examples += [(after, change) for change in changes][: show - len(examples)]
        if done % _TICK_ROWS == 0:
            display.show(Tick("comparing", done, total, "rows"))
    return examples


def _rows_table(result: "Difference") -> Table:
    facts = [
        ("rows", f"{result.old.rows:,} -> {result.new.rows:,}"),
        ("failed rows", f"{result.old.failures:,} -> {result.new.failures:,}"),
        ("same text", f"{result.compared:,}, {result.changed:,} of them with other entities"),
        ("another text", f"{result.reworded:,}"),
        ("only in one", f"{result.only_old:,} in OLD, {result.only_new:,} in NEW"),
    ]
    return tables.fact_table(facts)


def _label_table(result: "Difference") -> Table:
    columns = ("old", "new", "gained", "lost", "became", "was", "moved", f"per 1,000 {result.per}", "change")
    table = tables.number_table("label", *columns)
    for one in result.labels:
        counts = (one.old, one.new, one.gained, one.lost, one.became, one.was, one.moved)
        rates = f"{one.old_rate:.4g} -> {one.new_rate:.4g}"
        table.add_row(printable(one.label), *(f"{count:,}" if count else "-" for count in counts), rates, _percent(one))
    return table


def _relabelled(result: "Difference") -> Iterator[Table]:
    if not result.relabelled:
        return
    table = tables.number_table("relabelled", "entities")
    for (before, after), count in result.relabelled.items():
        table.add_row(f"{printable(before)} -> {printable(after)}", f"{count:,}")
    yield table


def _example_table(examples: list["Example"]) -> Table:
    table = tables.number_table("row")
    table.add_column("change")
    table.add_column("text", overflow="fold")
    for row, change in examples:
        table.add_row(printable(str(row.key)), change.kind, _marked(row, change))
    return table


def _marked(row: "Row", change: "Change") -> Text:
    """The text around a change, with the entity marked.

    The mark is where the entity is now, or where it was if it is gone. An entity that has moved shows both places.
    """
    spans = [span for span in (change.before, change.after) if span is not None]
    at = spans[-1]
    label = " -> ".join(dict.fromkeys(span.label for span in spans))
    marked = highlight(*excerpt(row.text or "", [Span(at.start, at.end, label)], EXCERPT), [label], colour=False)
    if change.kind == "moved" and change.before:
        was = printable((row.text or "")[change.before.start : change.before.end])
        marked.append(f"  (was: {was})", style="dim")
    return marked


def _plain(row: "Row", change: "Change") -> dict[str, Any]:
    def plain(span: Span | None) -> dict[str, Any] | None:
        if span is None:
            return None
        text = (row.text or "")[span.start : span.end]
        return {"start": span.start, "end": span.end, "label": span.label, "text": text}

    known = {"row": row.number, "key": row.key, "kind": change.kind}
    return {**known, "before": plain(change.before), "after": plain(change.after)}


def _percent(one: "LabelChange") -> str:
    return "new" if one.drift is None else f"{100 * one.drift:+.1f} %"
