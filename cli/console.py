"""The two streams: `result()` is stdout and carries only what was asked for, stderr carries the rest.

stderr is for people, or with `--log-format json` for machines: one object a line with time, level, event and fields.
Consoles are made when used, so that they see the streams and the width of that moment; rich drops colour off a
terminal and honours NO_COLOR.
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
    """What libraries log or warn of, as events."""

    def emit(self, record: logging.LogRecord) -> None:
        print_event(record.levelname.lower(), "log", logger=record.name, message=record.getMessage())


_format = LogFormat.TEXT
"""Of this process's stderr: like the stream itself, it is one for all that is written there."""
_libraries = _Libraries(logging.WARNING)


def log_as(wanted: LogFormat) -> LogFormat:
    """From now on stderr is written so. Returns `wanted`, as the callback of an option must."""
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
    """What `arguments`, not parsed yet, or NERX_LOG_FORMAT ask for: wrong usage is told in that form too."""
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
    return _Console(highlight=False, emoji=False, markup=False)


def notes(quiet: bool = False) -> Console:
    """stderr for people; `quiet` swallows everything."""
    return _Console(stderr=True, highlight=False, emoji=False, markup=False, quiet=quiet)


def print_event(level: str, event: str, /, **fields: object) -> None:
    """One JSON object on stderr. `time` is UTC; fields that are None are left out, and credentials in texts."""
    record = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": level, "event": event}
    told = {
        name: without_credentials(value) if isinstance(value, str) else value
        for name, value in fields.items()
        if value is not None
    }
    print(json.dumps({**record, **told}, ensure_ascii=True, default=str), file=sys.stderr, flush=True)  # noqa: T201


def note(text: str, *, event: str = "note", level: str = "info", quiet: bool = False) -> None:
    """A line on stderr that is no error; advice (`event` hint) is dimmed."""
    if quiet:
        return
    if logs_json():
        print_event(level, event, message=text)
    else:
        notes().print(text, style="dim" if event == "hint" else None, soft_wrap=True)


def print_result(heading: str, *parts: RenderableType) -> None:
    """A heading and what belongs to it, on stdout, with an empty line between parts. Lines of text are not wrapped."""
    console = result()
    console.print(Text(heading, style="bold"), soft_wrap=True)
    for part in parts:
        console.print()
        console.print(part, soft_wrap=isinstance(part, str))


def print_json(value: Mapping[str, object]) -> None:
    """One line of JSON on stdout; paths and other plain objects by their `str`."""
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
    """A report as an indented JSON file, whole or not at all. Raises OutputError when it cannot be written."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


def write_text(path: Path, text: str) -> None:
    """A file that no reader ever sees half of. Raises OutputError when it cannot be written."""
    from ..engine.writing.atomic import AtomicFile

    try:
        with AtomicFile(path) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise OutputError(f"cannot write the report {path}: {error.strerror or error}") from error


def print_error(message: str, *, exit_code: int | None = None, kind: str | None = None) -> None:
    """`error: ...` on stderr, one line a problem, never wrapped: it may be searched for or cut out by scripts."""
    lines = without_credentials(message).splitlines() or [""]
    if logs_json():
        for line in lines:
            print_event("error", "error", message=line, kind=kind, exit_code=exit_code)
        return
    console = notes()
    for line in lines:
        console.print(Text.assemble(("error: ", "bold red"), line), soft_wrap=True)


def print_fault(error: BaseException, message: str, *, quoting: bool) -> None:
    """A fault of nerx: where it happened, and `message` for the user.

    Exceptions of libraries may quote the value they failed on, and so a text; only `quoting` shows what they say.
    """
    lines = [line for one in _chain(error) for line in _frames(one, quoting)]
    if logs_json():
        kind = type(error).__name__
        print_event("error", "fault", message=message, kind=kind, exit_code=1, traceback="".join(lines))
        return
    notes().print("".join(lines), end="", soft_wrap=True)
    print_error(message)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """`error` and what led to it, the first cause first."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from _chain(before)
    yield error


def _frames(error: BaseException, quoting: bool) -> list[str]:
    head = "Traceback (most recent call last):\n"
    said = f": {error}" if quoting else ""
    return [head, *traceback.format_tb(error.__traceback__), f"{type(error).__name__}{said}\n"]
