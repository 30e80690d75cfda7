"""Reads an output of `nerx extract`: its parts, what they say of themselves, and its rows as a stream.

It can read two outputs side by side, by row order or by an id column. It never holds a whole output in memory.
"""

import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate, zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..columns import ENTITIES, ERROR, column_texts
from ..errors import CorpusError, InputError, OutputError
from ..naming import require_unicode
from ..origin import facts_in
from ..span import Span
from ..tally import Tally
from ..writing.part import output_tally
from ..writing.place import staging_folder
from ..writing.staging import Staging

READ_ROWS = 4096
"""Rows of an output in memory at a time."""

BUCKET_ROWS = 100_000
"""Rows of one output in memory at a time when two outputs are matched by an id."""

_ROW = "__row"


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `number` counts from 0 over the whole output. `key` is the row's id, or its number.

    `text` is None for a null and for bytes that are no UTF-8; `has_text` tells them apart. `mentions` are the texts
    that are stored with the `spans`.
    """

    number: int
    key: Any
    has_text: bool
    text: str | None
    spans: tuple[Span, ...] | None
    mentions: tuple[str, ...]
    error: str | None


class Enriched:
    """An output of `nerx extract`, a file or a folder of parts. Raises CorpusError when `path` is no such output."""

    def __init__(self, path: Path, *, text_column: str | None = None, id_column: str | None = None) -> None:
        require_unicode(path, CorpusError)
        self.path = path
        self.parts = tuple(sorted(path.glob("*.parquet"))) if path.is_dir() else (path,)
        if not self.parts or not path.exists():
            raise CorpusError(
                f"{path}: {'a folder without .parquet files' if path.is_dir() else 'no such file or folder'}"
            )
        footers = [_footer(part) for part in self.parts]
        self.schema: pa.Schema = footers[0].schema.to_arrow_schema()
        self.facts = [facts_in(footer.metadata) for footer in footers]
        """What each part says of its run."""
        self.first_rows: list[int] = list(accumulate((footer.num_rows for footer in footers), initial=0))
        self.text_column = text_column or self.facts[0].get("text_column", "text")
        self.id_column = id_column
        self._require_columns()

    @property
    def rows(self) -> int:
        return self.first_rows[-1]

    def tally(self, part: int | None = None) -> Tally:
        """The stored counts of one part, or of all. Raises OutputError when a part holds no counts."""
        return sum(map(output_tally, self.parts if part is None else [self.parts[part]]), Tally())

    def read(self, part: int | None = None) -> Iterator[Row]:
        """Yield the rows of one part, or of all, in order. Raises CorpusError when a part is damaged."""
        for batch in self.batches(part):
            yield from self.rows_of(batch)

    def with_entities(self, label: str | None = None) -> Iterator[Row]:
        """Yield the rows that have an entity (of `label`, if given), in order. Raises CorpusError as `read` does."""
        for batch in self.batches():
            entities = batch.column(ENTITIES.name)
            places = pc.list_parent_indices(entities)
            if label is not None:
                places = places.filter(pc.equal(entities.flatten().field("label"), label))
            if wanted := set(places.to_pylist()):
                yield from (row for place, row in enumerate(self.rows_of(batch)) if place in wanted)

    def batches(self, part: int | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the columns of a Row, in record batches, with a column of row numbers."""
        wanted = (self.text_column, ENTITIES.name, ERROR.name, self.id_column)
        names = list(dict.fromkeys(name for name in wanted if name))
        for index in range(len(self.parts)) if part is None else [part]:
            number = self.first_rows[index]
            try:
                with pq.ParquetFile(self.parts[index], pre_buffer=False) as parquet:
                    for batch in parquet.iter_batches(READ_ROWS, columns=names, use_threads=False):
                        numbers = pa.array(range(number, number + batch.num_rows), pa.int64())
                        number += batch.num_rows
                        yield batch.select(names).append_column(_ROW, numbers)
            except (pa.ArrowException, OSError) as error:
                raise CorpusError(f"{self.parts[index]}: damaged at or after row {number:,} ({error})") from error

    def rows_of(self, batch: pa.RecordBatch) -> Iterator[Row]:
        """Yield the rows of a batch that `batches` made, or of some of its rows."""
        texts = batch.column(self.text_column)
        numbers = batch.column(_ROW).to_pylist()
        keys = batch.column(self.id_column).to_pylist() if self.id_column else numbers
        found = _found(batch.column(ENTITIES.name))
        columns = (numbers, keys, texts.is_valid().to_pylist(), column_texts(texts))
        for *known, (spans, mentions), error in zip(*columns, found, batch.column(ERROR.name).to_pylist(), strict=True):
            number, key, has_text, text = known
            yield Row(number, key, has_text, text, spans, mentions, error)

    def _require_columns(self) -> None:
        names = self.schema.names
        if not {ENTITIES.name, ERROR.name} <= set(names):
            raise CorpusError(f"{self.path}: not written by nerx extract; its columns are {', '.join(names)}")
        for role, name in (("text", self.text_column), ("id", self.id_column)):
            if name is not None and name not in names:
                raise CorpusError(f"{self.path}: no {role} column {name!r}; its columns are {', '.join(names)}")


def unfinished(out: Path) -> tuple[Tally, dict[str, Any]]:
    """The counts of the finished rows of an unfinished run to `out`, and its fingerprint.

    Raises OutputError when the fingerprint cannot be read.
    """
    staging = Staging(staging_folder(out), pa.schema([]))
    pieces = [piece for shard in staging.pieces().values() for piece in shard]
    try:
        manifest = json.loads((staging.folder / "run.json").read_text(encoding="utf-8", errors="surrogateescape"))
    except (OSError, ValueError) as error:
        raise OutputError(f"{staging.folder}: holds no run that can be read ({error})") from error
    return sum((piece.tally for piece in pieces), Tally()), manifest


def matched(old: Enriched, new: Enriched) -> Iterator[tuple[Row | None, Row | None]]:
    """Yield the rows of both outputs in pairs: by id if both were opened with an id column, else by order.

    None stands for a row that one of them lacks. Raises InputError for an id that is null or occurs twice.
    """
    if old.id_column is None or new.id_column is None:
        yield from zip_longest(old.read(), new.read())
        return
    buckets = 1 + max(old.rows, new.rows) // BUCKET_ROWS
    with TemporaryDirectory(prefix="nerx-diff-") as folder:
        places = [Path(folder, str(index)) for index in range(2)]
        _scatter(old, places[0], buckets)
        _scatter(new, places[1], buckets)
        for bucket in range(buckets):
            yield from _match(old, new, [place / str(bucket) for place in places])


def _match(old: Enriched, new: Enriched, places: Sequence[Path]) -> Iterator[tuple[Row | None, Row | None]]:
    known = {row.key: row for row in _unique(old, places[0])}
    for row in _unique(new, places[1]):
        yield known.pop(row.key, None), row
    yield from ((row, None) for row in known.values())


def _unique(enriched: Enriched, place: Path) -> Iterator[Row]:
    seen: dict[Any, int] = {}
    with pa.OSFile(str(place)) as file, pa.ipc.open_stream(file) as batches:
        for batch in batches:
            for row in enriched.rows_of(batch):
                if (first := seen.setdefault(row.key, row.number)) != row.number:
                    raise InputError(
                        f"{enriched.path}: rows {first:,} and {row.number:,} have the same {enriched.id_column!r}; "
                        "choose a column that is unique"
                    )
                yield row


def _scatter(enriched: Enriched, folder: Path, buckets: int) -> None:
    """Write the rows into `buckets` files by their id, so that equal ids of two outputs are in the same bucket."""
    folder.mkdir()
    with ExitStack() as stack:
        writers: list[Any] = []
        for batch in enriched.batches():
            if not writers:
                writers = [_writer(stack, folder / str(bucket), batch.schema) for bucket in range(buckets)]
            places = [_bucket(enriched, key, buckets) for key in batch.column(enriched.id_column).to_pylist()]
            for bucket in sorted(set(places)):
                writers[bucket].write_batch(batch.filter(pa.array([place == bucket for place in places])))
        if not writers:  # no row at all
            empty = enriched.schema.empty_table().append_column(_ROW, pa.array([], pa.int64()))
            for bucket in range(buckets):
                _writer(stack, folder / str(bucket), empty.schema)


def _writer(stack: ExitStack, path: Path, schema: pa.Schema) -> Any:
    file = stack.enter_context(pa.OSFile(str(path), "wb"))
    return stack.enter_context(pa.ipc.new_stream(file, schema))


def _bucket(enriched: Enriched, key: Any, buckets: int) -> int:
    if key is None or isinstance(key, list | dict):
        raise InputError(
            f"{enriched.path}: column {enriched.id_column!r} holds {'nulls' if key is None else 'nested values'}, "
            "which identify no row; choose another"
        )
    return zlib.crc32(repr(key).encode("utf-8", "surrogatepass")) % buckets


def _found(entities: pa.Array) -> Iterator[tuple[tuple[Span, ...] | None, tuple[str, ...]]]:
    """Spans and mentions of each row. From flat columns: a dict an entity would take five times as long."""
    values = entities.flatten()
    names = ("start", "end", "label", "score")
    spans = list(map(Span, *(values.field(name).to_pylist() for name in names)))
    mentions = values.field("text").to_pylist()
    at = 0
    for length in entities.value_lengths().to_pylist():
        if length is None:
            yield None, ()
        else:
            yield tuple(spans[at : at + length]), tuple(mentions[at : at + length])
            at += length


def _footer(part: Path) -> Any:
    try:
        return pq.read_metadata(part)
    except (pa.ArrowException, OSError) as error:
        raise CorpusError(f"{part}: not a Parquet file, or a truncated one ({error})") from error
