"""The two streams: `result()` is stdout and carries only what was asked for, `notes()` is stderr and carries the rest.

Both are made when used, so that they see the streams and the width of that moment; rich drops colour off a
terminal and honours NO_COLOR.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console, RenderableType
from rich.text import Text

from ..engine.errors import OutputError


def result() -> Console:
    return Console(highlight=False, emoji=False, markup=False)


def notes(quiet: bool = False) -> Console:
    """stderr; `quiet` swallows everything."""
    return Console(stderr=True, highlight=False, emoji=False, markup=False, quiet=quiet)


def print_result(heading: str, *parts: RenderableType) -> None:
    """A heading and what belongs to it, on stdout, with an empty line between parts. Lines of text are not wrapped."""
    console = result()
    console.print(Text(heading, style="bold"), soft_wrap=True)
    for part in parts:
        console.print()
        console.print(part, soft_wrap=isinstance(part, str))


def print_json(value: Mapping[str, object]) -> None:
    """One line of JSON on stdout; paths and other plain objects by their `str`."""
    print(json.dumps(value, ensure_ascii=False, default=str))  # noqa: T201


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """A report as an indented JSON file. Raises OutputError when it cannot be written."""
    try:
        path.write_text(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write the report {path}: {error.strerror or error}") from error


def print_error(message: str) -> None:
    """`error: ...` on stderr, one line a problem, never wrapped: it may be searched for or cut out by scripts."""
    console = notes()
    for line in message.splitlines() or [""]:
        console.print(Text.assemble(("error: ", "bold red"), line), soft_wrap=True)
