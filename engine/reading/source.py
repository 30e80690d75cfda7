"""What every input format offers: columns, a number of rows, cuts into shards, and batches of a cut."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import pyarrow as pa

from ..errors import CorpusError

SHARD_ROWS = 50_000
"""Rows a shard aims at: at a hundred texts a second, eight minutes of work; one row group of the output."""

SHARD_BYTES = 64 << 20
"""A shard of long texts ends before this: a finished shard is held in memory once, when it is written."""

BATCH_BYTES = 8 << 20
"""What one batch may hold, whatever the number of rows asked for; a single longer row is a batch of its own."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Consecutive rows of one source. The byte range and first line serve formats that are re-read by seeking."""

    first_row: int
    rows: int
    first_byte: int = 0
    end_byte: int = 0
    first_line: int = 1


class Source(Protocol):
    """A file, or a bundle of small ones, whose rows come in a fixed order. Holds no open file; can be pickled."""

    @property
    def path(self) -> str:
        """How messages and shards call it."""

    @property
    def kind(self) -> str:
        """The format; sources of one kind know how to agree on columns."""

    @property
    def schema(self) -> pa.Schema: ...

    @property
    def evidence(self) -> pa.Schema:
        """`schema` with the type null where the source shows no type: in a column that has no value."""

    @property
    def cuts(self) -> tuple[Cut, ...]: ...

    @property
    def digest(self) -> str:
        """Hex digest of the content, or of what stands for it; equal digests mean equal rows."""

    def merge(self, known: pa.Schema) -> pa.Schema:
        """The columns that hold this source and the sources before it. Raises ValueError with the difference."""

    def batches(self, cut: Cut, schema: pa.Schema, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """The rows of `cut` in order, with the columns and types of `schema`, which may lack some.

        Raises CorpusError, pa.ArrowException, OSError.
        """


class NoRowsError(CorpusError):
    """A file that holds nothing at all, not even columns."""


@dataclass(frozen=True, slots=True)
class NoRows:
    """Such a file as a source, where other files make up the corpus."""

    path: str
    kind: str
    cuts: tuple[Cut, ...] = ()
    digest: str = "empty"

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([])

    @property
    def evidence(self) -> pa.Schema:
        return self.schema

    def merge(self, known: pa.Schema) -> pa.Schema:
        return known

    def batches(self, cut: Cut, schema: pa.Schema, batch_rows: int) -> Iterator[pa.RecordBatch]:  # noqa: ARG002
        return iter(())


def group(sizes: Iterable[tuple[int, int]], shard_rows: int) -> Iterator[tuple[int, int]]:
    """Join neighbours, given as (rows, bytes), into shards of at most `shard_rows` and SHARD_BYTES: yields [i, j).

    One that is larger alone stays whole; see `split` for those that can be cut.
    """
    first, rows, size, last = 0, 0, 0, 0
    for last, (more_rows, more_size) in enumerate(sizes, start=1):
        if rows and (rows + more_rows > shard_rows or size + more_size > SHARD_BYTES):
            yield first, last - 1
            first, rows, size = last - 1, 0, 0
        rows, size = rows + more_rows, size + more_size
    if last > first:
        yield first, last


def split(rows: int, size: int, shard_rows: int) -> list[tuple[int, int]]:
    """Cut one run of `rows` in `size` bytes into even parts within the shard limits: [(rows, bytes)]."""
    parts = min(rows, max(1, -(-rows // shard_rows), -(-size // SHARD_BYTES)))
    borders = [rows * part // parts for part in range(parts + 1)] if parts else []
    return [(end - start, size * (end - start) // rows) for start, end in pairwise(borders)]


def require_same_columns(known: pa.Schema, seen: pa.Schema) -> pa.Schema:
    """`known`, nullable where `seen` is. Raises ValueError naming the first difference in names, order or types."""
    missing = [name for name in known.names if name not in seen.names]
    extra = [name for name in seen.names if name not in known.names]
    if missing or extra:
        parts = (("lacks {}", missing), ("has {} besides", extra))
        raise ValueError(" and ".join(said.format(", ".join(map(repr, names))) for said, names in parts if names))
    if known.names != seen.names:
        raise ValueError(f"has the columns in another order ({', '.join(seen.names)})")
    for ours, theirs in zip(known, seen, strict=True):
        if ours.type != theirs.type:
            raise ValueError(f"column {ours.name!r} is {theirs.type}, not {ours.type}")
    fields = [ours.with_nullable(ours.nullable or theirs.nullable) for ours, theirs in zip(known, seen, strict=True)]
    return pa.schema(fields, metadata=known.metadata)
