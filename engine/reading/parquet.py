"""Parquet as a source: row groups grouped or cut into shards from the footer alone, streamed page by page."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..errors import CorpusError
from ..foreign import has_legacy_int96
from .agreement import agree, fitted
from .listing import InputFile
from .source import BATCH_BYTES, Cut, NoRowsError, group, split
from .store import reason

PAGE_BUFFER_BYTES = 1 << 20
"""Without a buffer size pyarrow reads a whole column chunk at once; with pre_buffer a whole row group."""


_DAMAGED = "not a Parquet file, or a truncated one"

_IGNORED = {"is_from_converted_type", "force_set_converted_type"}
_GROUP = re.compile(r"\s*\w+ group field_id=\S+ (.*) \((?!List\)|Map\))(\w+)(?:\(.*\))?\) \{")
"""A column of several parts in the text of a Parquet schema, with the type that makes it more than its parts."""


@dataclass(frozen=True, slots=True)
class ParquetSource:
    """One Parquet file. `groups` is (rows, uncompressed bytes) of each row group; `blank` columns hold only nulls."""

    file: InputFile
    schema: pa.Schema
    groups: tuple[tuple[int, int], ...]
    blank: frozenset[str]
    cuts: tuple[Cut, ...]
    digest: str

    @property
    def path(self) -> str:
        return self.file.path

    @property
    def kind(self) -> str:
        return self.file.format

    @property
    def evidence(self) -> pa.Schema:
        fields = [field.with_type(pa.null()) if field.name in self.blank else field for field in self.schema]
        return pa.schema(fields, metadata=self.schema.metadata)

    @classmethod
    def open(cls, file: InputFile, *, shard_rows: int, limit: int | None) -> "ParquetSource":
        """Read the footer, and the columns whose values may not fit.

        Raises CorpusError when the file is truncated or no Parquet, or has a column that an output cannot keep.
        """
        if not file.size:
            raise NoRowsError(f"{file.path}: {_DAMAGED} (it has 0 bytes)")
        try:
            with _open(file) as parquet:
                metadata, written, schema = parquet.metadata, parquet.schema, parquet.schema_arrow
        except (pa.ArrowException, OSError) as error:
            at_fault = "cannot be read" if file.place and isinstance(error, OSError) else _DAMAGED
            raise CorpusError(f"{file.path}: {at_fault} ({reason(error)})") from error
        found = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
        groups = tuple((part.num_rows, part.total_byte_size) for part in found)
        cuts = tuple(_cut(groups, shard_rows, limit))
        _require_kept(file, written, schema)
        _require_microseconds(file, written, schema, sum(cut.rows for cut in cuts))
        blank = frozenset(_blank(written, found))
        return cls(file, schema, groups, blank, cuts, _digest(file, metadata.serialized_size))

    def merge(self, known: pa.Schema) -> pa.Schema:
        return agree(known, self.evidence)

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
                    yield fitted(batch, schema).slice(low, high - low)
                position += batch.num_rows
                if position >= end:
                    return


@contextmanager
def _open(file: InputFile, int96: str = "us") -> Iterator[pq.ParquetFile]:
    """`int96` is the unit of INT96 times. Spark has microseconds too; nanoseconds end in 2262 and begin again."""
    with pq.ParquetFile(
        file.location,
        filesystem=file.filesystem,
        buffer_size=PAGE_BUFFER_BYTES,
        pre_buffer=False,
        coerce_int96_timestamp_unit=int96,
    ) as parquet:
        yield parquet


def _require_kept(file: InputFile, written: pq.ParquetSchema, schema: pa.Schema) -> None:
    """Raises CorpusError for a column whose Parquet type Arrow drops or weakens when it writes what it read."""
    for name, kind in _GROUP.findall(str(written)):
        raise _unkept(file, name, kind)
    names = [column.logical_type.type for column in _leaves(written)]
    if set(names) <= {"NONE", "STRING", "INT", "DECIMAL", "DATE"}:
        return
    sink = pa.BufferOutputStream()
    try:
        pq.write_table(schema.empty_table(), sink)
        again = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    except pa.ArrowException:
        return  # `_require_storable` says it better
    for column, kept in zip(_leaves(written), _leaves(again), strict=True):
        before, after = _meaning(column), _meaning(kept)
        if before and before != after:
            raise _unkept(file, column.path, str(column.logical_type))


def _unkept(file: InputFile, name: str, kind: str) -> CorpusError:
    return CorpusError(
        f"{file.path}: column {name!r} has the Parquet type {kind}, which nerx cannot write back as it is; "
        "change the type in the tool that wrote the file (a string or a struct will do), or drop the column"
    )


def _leaves(schema: pq.ParquetSchema) -> list[Any]:
    return [schema.column(index) for index in range(len(schema))]


def _meaning(column: Any) -> dict[str, Any] | None:
    """The logical type of a column without what changes no value; None where there is none."""
    known = json.loads(column.logical_type.to_json())
    # Before Parquet 2.4 a time did not say whether it is in UTC, and engines disagree.
    if known["Type"] == "None" or known.get("is_from_converted_type"):
        return None
    if known["Type"] == "Int" and known["isSigned"] and known["bitWidth"] in (32, 64):
        return None  # the physical type says it
    return {name: value for name, value in known.items() if name not in _IGNORED}


def _require_microseconds(file: InputFile, written: pq.ParquetSchema, schema: pa.Schema, rows: int) -> None:
    """Raises CorpusError when one of the first `rows` values of an INT96 column does not fit microseconds."""
    paths = [column.path for column in _leaves(written) if column.physical_type == "INT96"]
    is_legacy = has_legacy_int96(schema.metadata)
    for path in paths:
        row = 0
        try:
            with _open(file) as micro, _open(file, "ns") as nano:
                options = {"columns": [path], "use_threads": False}
                for ours, exact in zip(micro.iter_batches(**options), nano.iter_batches(**options), strict=True):
                    if row >= rows:
                        break
                    _require_same_times(f"{file.path}: column {path!r}", row, ours, exact, is_legacy)
                    row += ours.num_rows
        except (pa.ArrowException, OSError) as error:
            raise CorpusError(f"{file.path}: damaged at or after row {row:,} ({reason(error)})") from error


def _require_same_times(where: str, row: int, ours: pa.RecordBatch, exact: pa.RecordBatch, is_legacy: bool) -> None:
    place = f"{where}, in the {ours.num_rows:,} rows from row {row:,}"
    for micro, nano in zip(_flat(ours.columns), _flat(exact.columns), strict=True):
        # Nanoseconds wrap around, and so does this product: they are equal when nothing was cut off, in any century.
        times = micro.cast(pa.int64())
        same = pc.equal(pc.multiply(times, 1000), nano.cast(pa.int64()))
        if pc.all(same).as_py() is False:
            raise CorpusError(
                f"{place}: an INT96 time has nanoseconds, and nerx keeps INT96 as microseconds; "
                "write the column as a timestamp of nanoseconds or microseconds first"
            )
        if is_legacy and pc.any(pc.less(micro, pa.scalar(datetime(1900, 1, 1), pa.timestamp("us")))).as_py():
            raise CorpusError(
                f"{place}: an INT96 time before 1900 that an old Spark wrote (the key "
                "'org.apache.spark.legacyINT96'), and which Spark moves when it reads it; write the file with Spark "
                "3.1 or newer first"
            )


def _flat(columns: Sequence[pa.Array]) -> Iterator[pa.Array]:
    """The arrays of values inside lists and structs."""
    for column in columns:
        if pa.types.is_nested(column.type):
            yield from _flat(column.flatten() if pa.types.is_struct(column.type) else [column.flatten()])
        else:
            yield column


def _blank(written: pq.ParquetSchema, groups: Sequence[Any]) -> Iterator[str]:
    """The flat columns in which, as the footer says, no row has a value."""
    for index, column in enumerate(_leaves(written)):
        if column.path != column.name or not column.max_definition_level:
            continue
        told = [(group.num_rows, group.column(index).statistics) for group in groups]
        if all(said and said.has_null_count and said.null_count == rows for rows, said in told):
            yield column.name


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
