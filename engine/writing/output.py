"""What may be an output: its names, its columns, and what stands in the way of writing it. Writes nothing."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..columns import ENTITIES, ERROR
from ..errors import OutputError
from ..reading.store import StorePath, is_uri
from ..tally import Tally
from .place import check_place, is_under_way, require_own_name
from .staging import TALLY_KEY
from .store_output import StoreOutput

Output = Path | StoreOutput


def output_schema(schema: pa.Schema, metadata: Mapping[str, str]) -> pa.Schema:
    """The input's columns as they are, then the two of nerx; `metadata` besides the input's own."""
    added = {key.encode(): value.encode() for key, value in metadata.items()}
    return pa.schema([*schema, ENTITIES, ERROR], metadata={**(schema.metadata or {}), **added})


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
    """As :func:`~.place.check_place`, of an output anywhere."""
    if isinstance(out, StoreOutput):
        require_own_name(out)
        out.check(may_exist=overwrite or is_under_way(out.home), inputs=inputs)
        return
    check_place(out, overwrite=overwrite, inputs=inputs)


def output_tally(out: Path) -> Tally:
    """The counts stored in a published output. Raises OutputError when it is none of nerx's."""
    parts = [out] if out.is_file() else sorted(out.glob("part-*.parquet"))
    try:
        texts = [pq.read_metadata(part).metadata[TALLY_KEY].decode() for part in parts]
        return sum((Tally.from_json(text) for text in texts), Tally())
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise OutputError(f"{out}: not an output of nerx ({error})") from error
