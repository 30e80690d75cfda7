"""A job file: the options of `nerx extract` as TOML, for cron and orchestrators.

This module holds no list of options. A file may hold the parameters of the function `extract`, with their types, and
typer itself prefers the command line to the environment and the environment to the file. So the values end in the same
ExtractConfig as those of `nerx extract`. The types are checked here and not by pydantic: it would be one more
dependency of every run, and the rules that a file needs (a number where a text is wanted, one string for a list of
strings, the line of the mistake) would have to be written all the same.
"""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from ..engine.errors import InputError
from .options import PATHS, from_home

HUB = "PATH_OR_HUB_ID"
"""The metavar of options that take a folder or, where there is no such folder, a name on a hub."""

_URI = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


@dataclass(frozen=True, slots=True)
class JobFile:
    """A job file that was read. `values` maps parameter names to values; relative paths start at the file's folder."""

    path: Path
    values: Mapping[str, Any]
    lines: Mapping[str, int]

    @classmethod
    def read(cls, path: Path, command: Callable[..., Any], metavars: Mapping[str, str]) -> "JobFile":
        """Read the file at `path` for the parameters of `command`. `metavars` tell paths from other strings.

        Raises InputError with the line when the file is no TOML, a key is unknown, or a value has the wrong type.
        """
        text = _text(path)
        try:
            record = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            place = _PLACE.search(str(error))
            line = place[1] if place and place[1] else text.count("\n") + 1
            raise InputError(f"{path}:{line}: not valid TOML: {_PLACE.sub('', str(error))}") from error
        hints = get_type_hints(command)
        values, lines = {}, {}
        for key, value in record.items():
            name, line = key.replace("-", "_"), _line_of(key, text)
            where = f"{path}:{line}: " if line else f"{path}: "
            if name not in metavars:
                raise InputError(f"{where}unknown key {key!r}; {_advice(name, list(metavars))}")
            if name in values:
                raise InputError(f"{where}{key!r} is given twice (dashes and underscores are the same key); keep one")
            if not _fits(value, hints[name]):
                raise InputError(f"{where}{key} = {_toml(value)} is not {_wanted(hints[name])}")
            values[name], lines[name] = anchored(value, path.parent, hints[name], metavars[name]), line
        return cls(path, values, lines)

    def where(self, name: str) -> str:
        """`job.toml:3`."""
        return f"{self.path}:{self.lines[name]}"


def resolved(values: Mapping[str, Any], sources: Mapping[str, str]) -> str:
    """A job file with these values. A comment says where each value comes from. Leaves out None."""
    lines = {f"{name} = {_toml(value)}": sources[name] for name, value in values.items() if value is not None}
    width = min(max(map(len, lines), default=0), 60)
    return "\n".join(f"{line.ljust(width)}  # {source}" for line, source in lines.items())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8, which TOML needs; convert the file first") from error


def _line_of(key: str, text: str) -> int:
    """The line of the top-level key or table `key`, from 1; 0 when it is written in a way that hides it."""
    written = re.compile(rf"\s*\[*\s*[\"']?{re.escape(key)}[\"']?\s*[=.\]]")
    return next((number for number, line in enumerate(text.splitlines(), 1) if written.match(line)), 0)


def _advice(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"nerx extract has {', '.join(sorted(known))}"


def _kinds(hint: Any) -> list[Any]:
    """The types that a value may have. None is not among them: a file leaves the key out instead."""
    members = get_args(hint) if get_origin(hint) in (Union, UnionType) else [hint]
    return [member for member in members if member is not NoneType]


def _fits(value: object, hint: Any) -> bool:
    # `--max-failures` takes 20 and "5%". On the command line a number is text too, so a file may hold a number for it.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return any(_is_a(value, kind) for kind in _kinds(hint)) or (is_number and str in _kinds(hint))


def _is_a(value: object, kind: Any) -> bool:
    if get_origin(kind) is list:
        (element,) = get_args(kind)
        return _is_a(value, element) or (isinstance(value, list) and all(_is_a(one, element) for one in value))
    if kind in (int, float):
        # To Python True is an int, and int() cuts 2.7 to 2. A file means neither.
        return isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
    if kind is bool:
        return isinstance(value, bool)
    return isinstance(value, str)


def _wanted(hint: Any) -> str:
    (kind, *_) = _kinds(hint)
    if get_origin(kind) is list:
        return "a string or a list of strings"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"one of {', '.join(json.dumps(member.value) for member in kind)}"
    names = {bool: "true or false", int: "a whole number", float: "a number", Path: "a path in quotes"}
    return names.get(kind, "a string in quotes")


def anchored(value: Any, folder: Path, hint: Any, metavar: str) -> Any:
    """`value` of a parameter. If it is a relative path, it starts at `folder`; URIs stay as they are."""
    (kind, *_) = _kinds(hint)
    if get_origin(kind) is list:
        several = value if isinstance(value, list | tuple) else [value]
        return [anchored(one, folder, get_args(kind)[0], metavar) for one in several]
    if kind is str and isinstance(value, int | float):
        value = str(value)
    is_path = kind is Path or metavar in PATHS
    if not is_path or value is None or _URI.match(str(value)):
        return value
    value = from_home(value, is_path=True)
    return value if metavar == HUB and not (folder / value).exists() else str(folder / value)


def _toml(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    plain = value.value if isinstance(value, Enum) else value
    return json.dumps(str(plain), ensure_ascii=False).replace("\x7f", "\\u007f")
