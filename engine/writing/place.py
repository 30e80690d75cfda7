"""Names on this machine: what is kept beside an output, and what stands in an output's way. Opens no file."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from ..errors import OutputError
from ..naming import require_unicode

_FOREIGN_SUFFIXES = {
    ".json",
    ".jsonl",
    ".ndjson",
    ".csv",
    ".tsv",
    ".txt",
    ".gz",
    ".zst",
    ".bz2",
    ".pq",
    ".arrow",
    ".feather",
    ".avro",
}


def staging_folder(home: Path) -> Path:
    """The hidden folder in which a run collects its pieces; `home` is that of its output."""
    return home.with_name(f".{home.name}.nerx-partial")


def lock_file(home: Path) -> Path:
    """Held by the run that writes an output, and removed at its end."""
    return home.with_name(f".{home.name}.nerx-lock")


def old_folder(home: Path) -> Path:
    """Where a folder waits that is being replaced."""
    return home.with_name(f".{home.name}.nerx-old")


def is_under_way(home: Path) -> bool:
    """Whether a run is writing an output, or one was ended before it had tidied up."""
    return staging_folder(home).exists() or lock_file(home).exists()


def is_single(out: Path | str) -> bool:
    """Whether the output of that name is one file and not a folder of parts."""
    return Path(out).suffix.lower() == ".parquet"


def part_name(number: int) -> str:
    """The part that holds shard `number`, or the input of that number."""
    return f"part-{number:05d}.parquet"


def part_number(name: str) -> int:
    """The inverse of `part_name`."""
    return int(name.removeprefix("part-").removesuffix(".parquet"))


def is_part(name: str) -> bool:
    """Whether nerx may have given a file this name."""
    return re.fullmatch(r"part-\d+\.parquet", name) is not None


def part_files(out: Path) -> list[Path]:
    """The files of a finished output, in the order of their rows: itself, or its parts."""
    return [out] if out.is_file() else sorted(out.glob("part-*.parquet"))


def has_content(out: Path) -> bool:
    """Whether an existing output is more than an empty folder."""
    return out.is_file() or any(out.iterdir())


def require_own_name(out: object) -> None:
    """Raises OutputError for a name that promises another format, or that is not UTF-8."""
    require_unicode(str(out), OutputError)
    if Path(str(out)).suffix.lower() in _FOREIGN_SUFFIXES:
        raise OutputError(f"{out}: nerx writes Parquet; name a .parquet file, or a folder without a suffix")


def check_place(out: Path, *, may_exist: bool, inputs: Iterable[str] = ()) -> None:
    """Raises OutputError when `out` cannot be an output, or when it has content and `may_exist` is not given."""
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
        others = [entry.name for entry in out.iterdir() if not is_part(entry.name)]
        if others:
            raise OutputError(f"{out}: holds {min(others)!r}, which nerx did not write; choose another output folder")
    if has_content(out) and not may_exist:
        raise OutputError.exists_already(out)
