"""The two streams. stdout (`result()`) carries only the result; stderr carries everything else.

stderr is for people. With `--log-format json` it is for machines: one object per line, with time, level, event and
fields. Each use makes a console of its own, so that it sees the streams and the width of that moment. rich leaves out
colour when stdout is no terminal or NO_COLOR is set.
"""

import json
import logging
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from io import TextIOWrapper
from itertools import pairwise
from pathlib import Path
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from ..engine.errors import OutputError
from ..engine.redaction import without_credentials
from .highlight import printable


class LogFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


class _Libraries(logging.Handler):
    """Prints as events what libraries log, and their warnings."""

    def emit(self, record: logging.LogRecord) -> None:
        print_event(record.levelname.lower(), "log", logger=record.name, message=record.getMessage())


_format = LogFormat.TEXT
"""The form of this process's stderr. There is one stream, so there is one form."""
_libraries = _Libraries(logging.WARNING)


def log_as(wanted: LogFormat) -> LogFormat:
    """Write stderr in the form `wanted` from now on. Returns `wanted`, as the callback of an option must."""
    global _format
    _format = wanted
    logging.captureWarnings(wanted is LogFormat.JSON)
    if wanted is LogFormat.JSON:
        logging.getLogger().addHandler(_libraries)
    else:
        logging.getLogger().removeHandler(_libraries)
    return wanted


def logs_json() -> bool:
    """Whether stderr is for machines."""
    return _format is LogFormat.JSON


def format_in(arguments: Sequence[str], environment: Mapping[str, str]) -> LogFormat:
    """The form that the unparsed `arguments` or NERX_LOG_FORMAT ask for: wrong usage is reported in that form too."""
    asked = environment.get("NERX_LOG_FORMAT", "")
    for word, following in pairwise([*arguments, ""]):
        name, equals, value = word.partition("=")
        if name == "--log-format":
            asked = value if equals else following
    return LogFormat.JSON if asked == LogFormat.JSON else LogFormat.TEXT


class _Console(Console):
    """A console on which nothing that was read acts on the terminal: not a column's name, a card's field or a text."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)


def result() -> Console:
    """A console on stdout."""
    return _Console(highlight=False, emoji=False, markup=False)


def notes(quiet: bool = False) -> Console:
    """A console on stderr, for people; with `quiet` it prints nothing."""
    return _Console(stderr=True, highlight=False, emoji=False, markup=False, quiet=quiet)


def print_event(level: str, event: str, /, **fields: object) -> None:
    """Print one JSON object on stderr. `time` is UTC. Leaves out fields that are None, and credentials in texts."""
    record = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": level, "event": event}
    told = {
        name: without_credentials(value) if isinstance(value, str) else value
        for name, value in fields.items()
        if value is not None
    }
    print(json.dumps({**record, **told}, ensure_ascii=True, default=str), file=sys.stderr, flush=True)  # noqa: T201


def note(text: str, *, event: str = "note", level: str = "info", quiet: bool = False) -> None:
    """Print a line on stderr that is no error. Advice (`event` is hint) is dimmed."""
    if quiet:
        return
    if logs_json():
        print_event(level, event, message=text)
    else:
        notes().print(text, style="dim" if event == "hint" else None, soft_wrap=True)


def print_result(heading: str, *parts: RenderableType) -> None:
    """Print a heading and its parts on stdout, with an empty line between them. Lines of text are not wrapped."""
    console = result()
    console.print(Text(heading, style="bold"), soft_wrap=True)
    for part in parts:
        console.print()
        console.print(part, soft_wrap=isinstance(part, str))


def print_json(value: Mapping[str, object]) -> None:
    """Print one line of JSON on stdout. Paths and other objects appear as their `str`."""
    print(json.dumps(value, ensure_ascii=not _takes_unicode(sys.stdout), default=str))  # noqa: T201


def accept_all_texts() -> None:
    """Have both streams show a character that their encoding does not have as an escape such as `\\u0142`.

    A label or a file's name must not end a command whose output has been published.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _takes_unicode(stream: TextIO) -> bool:
    return (stream.encoding or "").lower().replace("-", "").startswith("utf")


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Write a report as an indented JSON file, whole or not at all. Raises OutputError when it cannot be written."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file so that no reader sees half of it. Raises OutputError when it cannot be written."""
    from ..engine.writing.atomic import AtomicFile

    try:
        with AtomicFile(path) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise OutputError(f"cannot write the report {path}: {error.strerror or error}") from error


def print_error(message: str, *, exit_code: int | None = None, kind: str | None = None) -> None:
    """Print `error: ...` on stderr, one line per problem. The line is not wrapped, so that scripts can search it."""
    lines = without_credentials(message).splitlines() or [""]
    if logs_json():
        for line in lines:
            print_event("error", "error", message=line, kind=kind, exit_code=exit_code)
        return
    console = notes()
    for line in lines:
        console.print(Text.assemble(("error: ", "bold red"), line), soft_wrap=True)


def print_fault(error: BaseException, message: str, *, quoting: bool) -> None:
    """Print where a fault of nerx happened, and `message` for the user.

    Exceptions of libraries may quote the value that they failed on, which can be a text of the corpus. Their words
    appear only with `quoting`.
    """
    lines = [line for one in _chain(error) for line in _frames(one, quoting)]
    if logs_json():
        kind = type(error).__name__
        print_event("error", "fault", message=message, kind=kind, exit_code=1, traceback="".join(lines))
        return
    notes().print("".join(lines), end="", soft_wrap=True)
    print_error(message)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """`error` and its causes, the first cause first."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from _chain(before)
    yield error


def _frames(error: BaseException, quoting: bool) -> list[str]:
    head = "Traceback (most recent call last):\n"
    said = f": {error}" if quoting else ""
    return [head, *traceback.format_tb(error.__traceback__), f"{type(error).__name__}{said}\n"]
