"""A file that nerx wrote, and what its metadata say: its run, its counts, and in a growing output its input."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..columns import ENTITIES, ERROR
from ..errors import OutputError
from ..foreign import extended
from ..origin import INPUT, TALLY, Origin, as_metadata, facts_in, other_metadata
from ..reading.corpus import Columns
from ..reading.listing import format_of
from ..tally import Tally
from .manifest import InputState, PartRecord
from .place import part_files


def output_schema(schema: pa.Schema, facts: Mapping[str, str]) -> pa.Schema:
    """The input's columns as they are, then the two of nerx; `facts` besides the input's own metadata."""
    columns = pa.schema([*schema, ENTITIES, ERROR])
    return columns.with_metadata({**extended(schema.metadata, columns), **as_metadata(facts)})


def file_facts(path: Path | str, filesystem: Any = None) -> dict[str, str]:
    """What a Parquet file says of its run; `path` is one of `filesystem`, if given. Raises OSError, ArrowException."""
    return facts_in(pq.read_metadata(path, filesystem=filesystem).metadata)


def tally_in(facts: Mapping[str, str]) -> Tally:
    """The counts of a file's rows. Raises ValueError or TypeError where there are none."""
    if TALLY not in facts:
        raise ValueError("its metadata hold no counts")
    return Tally.from_json(facts[TALLY])


def output_tally(out: Path) -> Tally:
    """The counts stored in a finished output, a file or a folder. Raises OutputError when it is none of nerx's."""
    try:
        return sum((tally_in(file_facts(part)) for part in part_files(out)), Tally())
    except (pa.ArrowException, OSError, TypeError, ValueError) as error:
        raise OutputError(f"{out}: not an output of nerx ({error})") from error


def input_facts(state: InputState) -> dict[str, str]:
    """What a part made from this input says of it."""
    return {INPUT: json.dumps(asdict(state))}


def read_part(path: Path) -> tuple[Origin, PartRecord]:
    """What a part says of itself. Raises OutputError when it is damaged or no part of a growing output."""
    try:
        state = path.stat()
        metadata = pq.read_metadata(path)
        facts = facts_in(metadata.metadata)
        made_from = InputState(**json.loads(facts[INPUT]))
        origin = Origin.said(facts)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        reason = "was not made with --incremental" if isinstance(error, KeyError) else f"cannot be read ({error})"
        raise OutputError(f"{path}: {reason}; use --overwrite to extract all anew, or another --out") from error
    return origin, PartRecord(path.name, state.st_size, state.st_mtime_ns, metadata.num_rows, made_from)


def part_columns(folder: Path, part: PartRecord) -> Columns:
    """The input columns that the parts of `folder` have, read from one of them."""
    schema = pq.read_schema(folder / part.name)
    fields = [field for field in schema if field.name not in (ENTITIES.name, ERROR.name)]
    metadata = other_metadata(schema.metadata)
    kind = format_of(Path(part.input.path)) or "jsonl"
    return Columns(kind, pa.schema(fields, metadata=metadata or None), f"the output {folder}")
