"""A part of a growing output: one input file's rows, with the input's name and digest in its Parquet metadata."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..columns import ENTITIES, ERROR
from ..errors import OutputError
from ..reading.corpus import Columns
from ..reading.listing import format_of
from .manifest import Facts, InputState, PartRecord

INPUT_KEY = "nerx.input"


def input_metadata(state: InputState) -> dict[str, str]:
    """What a part made from this input says of it."""
    return {INPUT_KEY: json.dumps(asdict(state))}


def read_part(path: Path) -> tuple[Facts, PartRecord]:
    """What the part at `path` says of itself. Raises OutputError when it is damaged or no part of a growing output."""
    try:
        state = path.stat()
        metadata = pq.read_metadata(path)
        said = {key.decode(): value.decode() for key, value in metadata.metadata.items() if key.startswith(b"nerx.")}
        options = json.loads(said["nerx.options"])
        facts = Facts(said["nerx.adapter"], said.get("nerx.base_digest", ""), options, said["nerx.text_column"])
        made_from = InputState(**json.loads(said[INPUT_KEY]))
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        reason = "was not made with --incremental" if isinstance(error, KeyError) else f"cannot be read ({error})"
        raise OutputError(f"{path}: {reason}; use --overwrite to extract all anew, or another --out") from error
    return facts, PartRecord(path.name, state.st_size, state.st_mtime_ns, metadata.num_rows, made_from)


def part_columns(folder: Path, part: PartRecord) -> Columns:
    """The input columns that the parts of `folder` have, read from one of them."""
    schema = pq.read_schema(folder / part.name)
    added = {ENTITIES.name, ERROR.name}
    metadata: dict[bytes, Any] = {
        key: value for key, value in (schema.metadata or {}).items() if not key.startswith(b"nerx.")
    }
    fields = [field for field in schema if field.name not in added]
    kind = format_of(Path(part.input.path)) or "jsonl"
    return Columns(kind, pa.schema(fields, metadata=metadata or None), f"the output {folder}")
