"""What may be an output: its names, its columns, and what stands in the way of writing it. Writes nothing."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .entity import ENTITIES, ERROR
from .errors import OutputError
from .staging import TALLY_KEY
from .store import StorePath, is_uri
from .store_output import StoreOutput
from .tally import Tally

Output = Path | StoreOutput

_FOREIGN_SUFFIXES = {".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".txt", ".gz", ".pq", ".arrow", ".feather", ".avro"}


def output_schema(schema: pa.Schema, metadata: Mapping[str, str]) -> pa.Schema:
    """The input's columns as they are, then the two of nerx; `metadata` besides the input's own."""
    added = {key.encode(): value.encode() for key, value in metadata.items()}
    return pa.schema([*schema, ENTITIES, ERROR], metadata={**(schema.metadata or {}), **added})


def staging_folder(out: Path) -> Path:
    """The hidden folder in which a run to `out` collects its pieces."""
    return out.with_name(f".{out.name}.nerx-partial")


def lock_file(out: Path) -> Path:
    """Held by the run that writes `out`, and removed at its end."""
    return out.with_name(f".{out.name}.nerx-lock")


def is_under_way(out: Path) -> bool:
    """Whether a run is writing `out`, or one was ended before it had tidied up."""
    return staging_folder(out).exists() or lock_file(out).exists()


def open_output(name: str | Path, work: Path | None = None) -> Output:
    """The output that a user calls `name`: a local path, or one in a store, built in `work` before it is uploaded.

    `work` is by default the folder in which programs keep what has to outlive them (XDG_STATE_HOME).
    Raises InputError for a URI that nerx cannot read.
    """
    if not is_uri(name):
        return Path(name)
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    return StoreOutput(StorePath.parse(str(name)), work or state / "nerx")


def check_output(out: Output, *, overwrite: bool, inputs: Iterable[str] = ()) -> None:
    """Raises OutputError when `out` cannot be the output: for a command to ask before it loads a model.

    An output that exists is let pass while a run to it is under way or was cut short; whether it is that run's own is
    for :class:`~.sink.Sink` to see.
    """
    if Path(str(out)).suffix.lower() in _FOREIGN_SUFFIXES:
        raise OutputError(f"{out}: nerx writes Parquet; name a .parquet file, or a folder without a suffix")
    if isinstance(out, StoreOutput):
        out.check(may_exist=overwrite or is_under_way(out.home), inputs=inputs)
        return
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


def output_tally(out: Path) -> Tally:
    """The counts stored in a published output. Raises OutputError when it is none of nerx's."""
    parts = [out] if out.is_file() else sorted(out.glob("part-*.parquet"))
    try:
        texts = [pq.read_metadata(part).metadata[TALLY_KEY].decode() for part in parts]
        return sum((Tally.from_json(text) for text in texts), Tally())
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise OutputError(f"{out}: not an output of nerx ({error})") from error


def is_single(out: Path) -> bool:
    """Whether the output is one file and not a folder of parts."""
    return out.suffix.lower() == ".parquet"


def has_content(out: Path) -> bool:
    """Whether an existing output is more than an empty folder."""
    return out.is_file() or any(out.iterdir())
