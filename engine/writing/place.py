"""Where an output lies on this machine: what is kept beside it, and what stands in its way. Opens no file."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from ..errors import OutputError

_FOREIGN_SUFFIXES = {".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".txt", ".gz", ".pq", ".arrow", ".feather", ".avro"}


def staging_folder(out: Path) -> Path:
    """The hidden folder in which a run to `out` collects its pieces."""
    return out.with_name(f".{out.name}.nerx-partial")


def lock_file(out: Path) -> Path:
    """Held by the run that writes `out`, and removed at its end."""
    return out.with_name(f".{out.name}.nerx-lock")


def is_under_way(out: Path) -> bool:
    """Whether a run is writing `out`, or one was ended before it had tidied up."""
    return staging_folder(out).exists() or lock_file(out).exists()


def is_single(out: Path) -> bool:
    """Whether the output is one file and not a folder of parts."""
    return out.suffix.lower() == ".parquet"


def has_content(out: Path) -> bool:
    """Whether an existing output is more than an empty folder."""
    return out.is_file() or any(out.iterdir())


def require_own_name(out: object) -> None:
    """Raises OutputError for a name that promises another format."""
    if Path(str(out)).suffix.lower() in _FOREIGN_SUFFIXES:
        raise OutputError(f"{out}: nerx writes Parquet; name a .parquet file, or a folder without a suffix")


def check_place(out: Path, *, overwrite: bool, inputs: Iterable[str] = ()) -> None:
    """Raises OutputError when `out` cannot be the output: for a command to ask before it loads a model.

    An output that exists is let pass while a run to it is under way or was cut short; whether it is that run's own is
    for :class:`~.sink.Sink` to see.
    """
    require_own_name(out)
    real = os.path.realpath(out)
    for path in inputs:
        if os.path.realpath(path) == real or os.path.realpath(path).startswith(real + os.sep):
            raise OutputError(f"{out}: is or holds the input {path}; choose another output")
    if not out.exists():
        return
    if out.is_dir() != (not is_single(out)):
        kind = "folder" if out.is_dir() else "file"
        raise OutputError(f"{out}: is a {kind}; a .parquet name makes a file, any other a folder of parts")
    if out.is_dir():
        _require_own_parts(out)
    if has_content(out) and not overwrite and not is_under_way(out):
        raise OutputError(f"{out}: exists already; use --overwrite to replace it")


def _require_own_parts(out: Path) -> None:
    others = [entry.name for entry in out.iterdir() if not re.fullmatch(r"part-\d+\.parquet", entry.name)]
    if others:
        raise OutputError(f"{out}: holds {min(others)!r}, which nerx did not write; choose another output folder")
