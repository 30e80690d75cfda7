"""`nerx view`: a few rows of an output with their entities highlighted, in the terminal."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from . import console
from .enriched import Enriched, EnrichedRow
from .highlight import excerpt, highlight, printable


def view(
    path: Annotated[Path, typer.Argument(metavar="ENRICHED", help="What `nerx extract` wrote, a file or a folder.")],
    rows: Annotated[int, typer.Option("--rows", "-n", metavar="N", min=1, help="How many rows to show.")] = 10,
    label: Annotated[str | None, typer.Option(metavar="NAME", help="Only rows with an entity of this label.")] = None,
    text_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="The column with the text.", show_default="as extracted")
    ] = None,
    empty: Annotated[bool, typer.Option("--empty", metavar="", help="Show rows without entities as well.")] = False,
    characters: Annotated[int, typer.Option(metavar="N", min=40, help="Show so much of a long text.")] = 600,
) -> None:
    """Look at extracted entities, highlighted in the terminal.

    The first rows that have any; the number is the row's place in the output,
    from 0. Without colour an entity is shown as \\[mention | label].

    [bold not dim]Examples[/]

      [cyan]nerx view corpus.nerx.parquet[/]
      [cyan]nerx view corpus.nerx.parquet --rows 50 --label vessel[/]
    """
    shown = Enriched(path, text_column).rows(rows, label, empty and label is None)
    labels = sorted({span.label for row in shown for span in row.spans})
    out = console.result()
    colour = out.is_terminal and not out.no_color
    for row in shown:
        out.print(_render(row, labels, characters, colour), soft_wrap=not out.is_terminal)
    if not shown:
        wanted = f"an entity labelled {label!r}" if label else "an entity"
        console.notes().print(f"no row of {path} has {wanted}")


def _render(row: EnrichedRow, labels: list[str], characters: int, colour: bool) -> Text:
    text, spans = excerpt(row.text, row.spans, characters)
    line = Text.assemble((f"{row.number:>6,}  ", "dim"), highlight(text, spans, labels, colour=colour))
    if row.error:
        line.append(f"  nerx_error: {printable(row.error)}", style="red")
    return line
