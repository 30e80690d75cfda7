"""Parquet as a source: row groups grouped or cut into shards from the footer alone, streamed page by page."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import CorpusError
from .listing import InputFile
from .source import BATCH_BYTES, Cut, group, require_same_columns, split
from .store import reason

PAGE_BUFFER_BYTES = 1 << 20
"""Without a buffer size pyarrow reads a whole column chunk at once; with pre_buffer a whole row group."""


_DAMAGED = "not a Parquet file, or a truncated one"


@dataclass(frozen=True, slots=True)
class ParquetSource:
    """One Parquet file. `groups` is (rows, uncompressed bytes) of each row group, in order."""

    file: InputFile
    schema: pa.Schema
    groups: tuple[tuple[int, int], ...]
    cuts: tuple[Cut, ...]
    digest: str

    @property
    def path(self) -> str:
        return self.file.path

    @property
    def kind(self) -> str:
        return self.file.format

    @classmethod
    def open(cls, file: InputFile, *, shard_rows: int, limit: int | None) -> "ParquetSource":
        """Read the footer. Raises CorpusError when the file is truncated or no Parquet."""
        try:
            with _open(file) as parquet:
                metadata, schema = parquet.metadata, parquet.schema_arrow
        except (pa.ArrowException, OSError) as error:
            at_fault = "cannot be read" if file.place and isinstance(error, OSError) else _DAMAGED
            raise CorpusError(f"{file.path}: {at_fault} ({reason(error)})") from error
        found = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
        groups = tuple((part.num_rows, part.total_byte_size) for part in found)
        cuts = tuple(_cut(groups, shard_rows, limit))
        return cls(file, schema, groups, cuts, _digest(file, metadata.serialized_size))

    def merge(self, known: pa.Schema) -> pa.Schema:
        return require_same_columns(known, self.schema)

    def batches(self, cut: Cut, schema: pa.Schema, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Stream the rows of `cut`. One that begins inside a row group decodes the rows before it and drops them."""
        self.file.require_unchanged()
        ends = list(accumulate(rows for rows, _ in self.groups))
        end = cut.first_row + cut.rows
        needed = [
            index
            for index, (rows, _) in enumerate(self.groups)
            if rows and ends[index] > cut.first_row and ends[index] - rows < end
        ]
        size = max(size / rows for rows, size in (self.groups[index] for index in needed))
        position = ends[needed[0]] - self.groups[needed[0]][0]
        with _open(self.file) as parquet:
            rows_at_once = max(1, min(batch_rows, int(BATCH_BYTES / max(size, 1))))
            # One thread: the cores belong to the model, and decoding is a thousandth of a run.
            columns = None if len(schema) == len(self.schema) else schema.names
            for batch in parquet.iter_batches(rows_at_once, row_groups=needed, columns=columns, use_threads=False):
                low, high = max(cut.first_row - position, 0), min(end - position, batch.num_rows)
                if low < high:
                    if columns is not None:
                        batch = batch.select(columns)  # Arrow takes `a.b` for a field of a struct `a` as well
                    yield pa.RecordBatch.from_arrays(batch.columns, schema=schema).slice(low, high - low)
                position += batch.num_rows
                if position >= end:
                    return


@contextmanager
def _open(file: InputFile) -> Iterator[pq.ParquetFile]:
    with pq.ParquetFile(
        file.location, filesystem=file.filesystem, buffer_size=PAGE_BUFFER_BYTES, pre_buffer=False
    ) as parquet:
        yield parquet


def _cut(groups: tuple[tuple[int, int], ...], shard_rows: int, limit: int | None) -> Iterator[Cut]:
    parts = [part for rows, size in groups for part in split(rows, size, shard_rows)]
    position, end = 0, sum(rows for rows, _ in groups) if limit is None else limit
    for first, last in group(parts, shard_rows):
        rows = min(sum(rows for rows, _ in parts[first:last]), end - position)
        if rows <= 0:
            return
        yield Cut(position, rows)
        position += rows


def _digest(file: InputFile, footer_size: int) -> str:
    """Of the footer, which holds every column chunk's place, size and mostly its statistics, and of the file's time.

    The time is there because a footer without statistics does not change with every value.
    """
    digest = hashlib.blake2b(f"{file.size} {file.mtime_ns}".encode(), digest_size=16)
    with file.filesystem.open_input_file(file.location) as stream:
        stream.seek(max(0, file.size - footer_size - 8))
        digest.update(stream.read())
    return digest.hexdigest()
