"""Prefixes and globs of an object store -> the objects they mean, by the rules of folders and local globs."""

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from .store import StorePath

if TYPE_CHECKING:
    from pyarrow import fs

_MAGIC = re.compile(r"[*?[]")
_NAME = r"[^/.][^/]*"
"""A part of a path that `**` goes through: not a hidden one."""


def has_magic(path: str) -> bool:
    """Whether `path` is a glob."""
    return _MAGIC.search(path) is not None


def fixed_part(path: str) -> str:
    """The folder that holds all that a path or a glob names: what stands before its first wildcard or its last name."""
    return _MAGIC.split(path, maxsplit=1)[0].rpartition("/")[0]


def walk(place: StorePath, below: "Iterable[fs.FileInfo]") -> "Iterator[fs.FileInfo]":
    """Of the objects `below` a prefix, sorted, those without names and folders that begin with `.` or `_`."""
    return _visible(place.path, below)


def match(place: StorePath, below: "Iterable[fs.FileInfo]") -> "Iterator[fs.FileInfo]":
    """The objects that a glob matches, and those below the prefixes that it matches: match by match, each once.

    `below` are all objects below its fixed part.

    `*` and `?` stay within a part of the path and match no leading dot, `**` as a whole part spans parts, `[abc]` and
    `[!abc]` are one character.
    """
    objects = {str(info.path): info for info in below}
    prefixes = {path[: end.start()] for path in objects for end in re.finditer("/", path)}
    pattern = re.compile(translate(place.path), re.DOTALL)
    found: dict[str, fs.FileInfo] = {}
    for path in sorted(filter(pattern.fullmatch, objects.keys() | prefixes), key=lambda path: path.split("/")):
        below = [objects[path]] if path in objects else _visible(path, objects.values())
        found |= {str(info.path): info for info in below if str(info.path) not in found}
    return iter(found.values())


def _visible(prefix: str, objects: "Iterable[fs.FileInfo]") -> "Iterator[fs.FileInfo]":
    """Those of `objects` that are below `prefix` and not hidden."""
    for info in objects:
        path = str(info.path)
        if path.startswith(prefix + "/") and not re.search(r"/[._]", path[len(prefix) :]):
            yield info


def translate(glob: str) -> str:
    """`glob`, a path with `/` between its parts, as a regular expression."""
    parts = glob.split("/")
    whole = "".join(f"(?:{_NAME}/)*" if part == "**" else _part(part) + "/" for part in parts[:-1])
    return f"{whole[:-1]}(?:/{_NAME})*" if parts[-1] == "**" else whole + _part(parts[-1])


def _part(glob: str) -> str:
    tokens = re.findall(r"\[!?\]?[^\]]*\]|.", glob, re.DOTALL)
    return (r"(?!\.)" if has_magic(glob[:1]) else "") + "".join(map(_token, tokens))


def _token(token: str) -> str:
    if len(token) == 1:
        return {"*": "[^/]*", "?": "[^/]"}.get(token) or re.escape(token)
    inside = token[1:-1].replace("\\", r"\\")
    return f"[^/{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"
