"""`nerx view`: shows a few rows of an output in the terminal, with their entities highlighted."""

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from . import console
from .highlight import excerpt, highlight, printable

if TYPE_CHECKING:
    from ..engine.review.enriched import Row


def view(
    path: Annotated[Path, typer.Argument(metavar="ENRICHED", help="What `nerx extract` wrote, a file or a folder.")],
    rows: Annotated[int, typer.Option("--rows", "-n", metavar="N", min=1, help="How many rows to show.")] = 10,
    label: Annotated[
        str | None, typer.Option(metavar="NAME", help="Show only rows with an entity of this label.")
    ] = None,
    text_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="The column with the text.", show_default="as extracted")
    ] = None,
    empty: Annotated[bool, typer.Option("--empty", metavar="", help="Show rows without entities as well.")] = False,
    characters: Annotated[int, typer.Option(metavar="N", min=40, help="Characters to show of a long text.")] = 600,
) -> None:
    """Show extracted entities, highlighted in the terminal.

    nerx shows the first rows with entities. The number is the row's place in
    the output and counts from 0. Without colour an entity looks like this:
    \\[mention | label].

    [bold not dim]Examples[/]

      [cyan]nerx view corpus.nerx.parquet[/]
      [cyan]nerx view corpus.nerx.parquet --rows 50 --label vessel[/]
    """
    from ..engine.review.enriched import Enriched

    enriched = Enriched(path, text_column=text_column)
    chosen = enriched.read() if empty and label is None else enriched.with_entities(label)
    shown = list(islice(chosen, rows))
    labels = sorted({span.label for row in shown for span in row.spans or ()})
    if not shown:
        wanted = f"an entity labelled {label!r}" if label else "an entity"
        console.note(f"no row of {path} has {wanted}")
    out = console.result()
    if out.is_terminal:
        out.print(_grid(shown, labels, characters, colour=not out.no_color))
    else:
        for row in shown:  # one line each, for grep and the like
            line = _marked(row, labels, characters, colour=False).plain.replace("\n", " ")
            out.print(f"{row.number:>6}  {line}", soft_wrap=True)


def _grid(rows: list["Row"], labels: list[str], characters: int, colour: bool) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(justify="right", style="dim")
    grid.add_column(overflow="fold")
    for row in rows:
        grid.add_row(f"{row.number:,}", _marked(row, labels, characters, colour))
    return grid


def _marked(row: "Row", labels: list[str], characters: int, colour: bool) -> Text:
    marked = highlight(*excerpt(row.text or "", row.spans or (), characters), labels, colour=colour)
    if row.error:
        marked.append(f"  nerx_error: {printable(row.error)}", style="red")
    return marked
