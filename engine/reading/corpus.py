"""The texts to extract from: any number of files of any known format as one sequence of rows, cut into shards.

Opening a corpus finds all that is wrong with it, before anything is written: Parquet by its footers, line formats by
reading them through once. Deliberately knows nothing of models or outputs.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from ..columns import column_texts, require_free_names
from ..errors import CorpusError
from .agreement import declared, note, with_rows
from .delimited import Delimited
from .jsonl import JsonLines, readable
from .lake import Partitioned
from .line import LineFormat, LineSource
from .listing import READ_ERRORS, InputFile, list_files
from .parquet import ParquetSource
from .plaintext import TextFiles, TextLines
from .share import Share
from .source import SHARD_ROWS, Cut, NoRows, NoRowsError, Source, require_same_columns
from .store import is_uri, reason

TextUnit = Literal["line", "file"]

BATCH_ROWS = 2048
"""Rows handed to the extractor at once: enough to sort by length, few enough to hold."""

SHARDS_A_SHARE = 4
"""A corpus is cut finer when a share would get fewer shards: then no machine has a quarter more to do than another."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A run of rows that is worked on, and committed, as one. Numbered in the order of the output.

    `skip` rows at its beginning are done already.
    """

    index: int
    source: int
    path: str
    cut: Cut
    skip: int = 0

    @property
    def rows(self) -> int:
        """All its rows, done or not."""
        return self.cut.rows


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns that are settled: `schema`, learned from files of one `kind`; `where` is how messages call them."""

    kind: str
    schema: pa.Schema
    where: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """An opened corpus. Holds no open file; `rows` is exact. Made by :func:`open_corpus`."""

    sources: tuple[Source, ...]
    schema: pa.Schema
    text_column: str
    batch_rows: int
    files: tuple[InputFile, ...]
    share: Share | None = None
    """Whose shards, and so which rows, `shards`, `rows` and `batches` are about; None for all."""
    note: str | None = None
    """What to tell of files that had to be adapted to the others."""

    @property
    def rows(self) -> int:
        return sum(shard.rows for shard in self.shards())

    @property
    def text_index(self) -> int:
        """The place of the text column, from 0."""
        index: int = self.schema.get_field_index(self.text_column)
        return index

    @property
    def identity(self) -> dict[str, str]:
        """Path -> digest of every source: what must be equal for a run to be resumed."""
        return {source.path: source.digest for source in self.sources}

    @property
    def digest(self) -> str:
        """Hex digest of `identity`."""
        return hashlib.blake2b(json.dumps(self.identity).encode(), digest_size=16).hexdigest()

    def shards(self) -> tuple[Shard, ...]:
        """The shards of `share`, in the order of the rows; numbered over the whole corpus."""
        places = [(number, source, cut) for number, source in enumerate(self.sources) for cut in source.cuts]
        whole = (Shard(index, number, source.path, cut) for index, (number, source, cut) in enumerate(places))
        return tuple(shard for shard in whole if self.share is None or self.share.takes(shard.index))

    def batches(self, shard: Shard) -> Iterator[pa.RecordBatch]:
        """The rows of `shard` that are not done, streamed in order.

        Raises CorpusError when the file no longer yields the rows that it had when the corpus was opened.
        """
        seen = 0
        try:
            for batch in self.sources[shard.source].batches(shard.cut, self.schema, self.batch_rows):
                undone = batch.slice(max(shard.skip - seen, 0))
                seen += batch.num_rows
                if undone.num_rows:
                    yield undone
        except (pa.ArrowException, OSError) as error:
            found = "cannot be read" if is_uri(shard.path) else "damaged"
            where = f"{shard.path}: {found} at or after row {shard.cut.first_row + seen:,}"
            raise CorpusError(f"{where} ({reason(error)})") from error
        if seen != shard.rows:
            raise CorpusError(f"{shard.path}: changed during the run ({shard.rows:,} rows expected, {seen:,} read)")

    def texts(self, batch: pa.RecordBatch) -> list[str | None]:
        """The text of each row; None for a null and for bytes that are no UTF-8."""
        return column_texts(self.text_array(batch))

    def text_array(self, batch: pa.RecordBatch) -> pa.Array:
        """The text column of a batch as it is stored."""
        return batch.column(self.text_index)

    def only_texts(self) -> "Corpus":
        """The same rows with the text column alone; Parquet then reads nothing else."""
        return replace(self, schema=pa.schema([self.schema.field(self.text_column)]))


def open_corpus(
    paths: Sequence[str | Path | InputFile],
    *,
    text_column: str | None = None,
    id_column: str | None = None,
    limit: int | None = None,
    batch_rows: int = BATCH_ROWS,
    text_unit: TextUnit = "line",
    shard_rows: int = SHARD_ROWS,
    share: Share | None = None,
    known: Columns | None = None,
) -> Corpus:
    """Open files, folders (recursive), globs and store URIs as one corpus, in the order given and sorted within each.

    `text_column` may be absent when there is a column `text` or a single string column. `limit` takes the first rows
    only. `text_unit` says what a text is in `.txt` files. `share` takes its part of the shards. `known` are columns
    that earlier rows of the same output have: these must fit them. Raises CorpusError; nothing has been written then.
    """
    if limit is not None and limit < 1:
        raise CorpusError(f"limit must be at least 1, not {limit}")
    files = list_files(paths)
    texts = frozenset({text_column or "text"})
    is_alone = len(files) == 1 and known is None
    cut = partial(_open_sources, files, texts, text_unit, batch_rows=batch_rows, limit=limit, is_alone=is_alone)
    sources = tuple(cut(shard_rows=shard_rows))
    rows = sum(part.rows for source in sources for part in source.cuts)
    if share is not None and (finer := max(1, -(-rows // (SHARDS_A_SHARE * share.count)))) < shard_rows:
        sources = tuple(cut(shard_rows=finer))
    schema = _agree(sources, known)
    if id_column is not None:
        _require_column(schema, id_column, "id")
    column = choose_text_column(schema, text_column, besides=id_column)
    _require_storable(schema, sources[0].path)
    return Corpus(sources, schema, column, batch_rows, files, share, note(schema, sources))


def choose_text_column(schema: pa.Schema, wanted: str | None, *, besides: str | None = None) -> str:
    """`wanted`, or `text`, or the only string column (`besides` aside). Raises CorpusError listing the columns."""
    strings: list[str] = [field.name for field in schema if is_text(field.type) and field.name != besides]
    name = wanted or ("text" if "text" in schema.names else None)
    if name is None:
        if len(strings) == 1:
            return strings[0]
        found = "no string column" if not strings else f"{len(strings)} string columns and none is called 'text'"
        raise CorpusError(f"{found}; name one with --text-column. Columns: {_describe(schema)}")
    _require_column(schema, name, "text")
    kind = schema.field(name).type
    if not is_text(kind) and not pa.types.is_null(kind):
        raise CorpusError(f"column {name!r} is {kind}, not a string; columns: {_describe(schema)}")
    return name


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds texts: string, large_string, string_view, or a dictionary of these."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _require_storable(schema: pa.Schema, path: str) -> None:
    require_free_names(schema.names, f"{path}:")
    try:
        pq.ParquetWriter(pa.BufferOutputStream(), schema).close()
    except pa.ArrowException as error:
        # An object that is always {} is the usual case.
        raise CorpusError(f"{path}: a column cannot be stored as Parquet; drop it ({error})") from error


def _require_column(schema: pa.Schema, name: str, role: str) -> None:
    count = schema.names.count(name)
    if count != 1:
        found = "no column" if not count else f"{count} columns"
        raise CorpusError(f"{found} {name!r} (asked for as the {role} column); columns: {_describe(schema)}")


def _describe(schema: pa.Schema, most: int = 40) -> str:
    shown = [f"{field.name} ({field.type})" for field in list(schema)[:most]]
    return ", ".join(shown) + (f" and {len(schema) - most} more" if len(schema) > most else "") or "none"


def _open_sources(
    files: Sequence[InputFile],
    texts: frozenset[str],
    text_unit: TextUnit,
    *,
    shard_rows: int,
    batch_rows: int,
    limit: int | None,
    is_alone: bool,
) -> Iterator[Source]:
    """One source a file; with a file a text, one for each run of text files. Stops when `limit` rows are found."""
    for bundle in _bundles(files, text_unit):
        source: Source
        first = bundle[0]
        try:
            if first.format == "text" and text_unit == "file":
                source = TextFiles.survey(bundle, shard_rows=shard_rows, limit=limit)
            elif first.format == "parquet":
                source = ParquetSource.open(first, shard_rows=shard_rows, limit=limit)
            else:
                form = _line_format(first, texts)
                source = LineSource.survey(first, form, shard_rows=shard_rows, batch_rows=batch_rows, limit=limit)
        except NoRowsError:
            if is_alone:
                raise
            source = NoRows(first.path, first.format)
        yield Partitioned.around(source, first.partition)
        if limit is not None:
            limit -= sum(cut.rows for cut in source.cuts)
            if limit == 0:
                return


def _bundles(files: Sequence[InputFile], text_unit: TextUnit) -> Iterator[tuple[InputFile, ...]]:
    for (is_bundle, _), run in groupby(
        files, lambda file: (file.format == "text" and text_unit == "file", file.partition)
    ):
        neighbours = tuple(run)
        yield from [neighbours] if is_bundle else ((file,) for file in neighbours)


def _line_format(file: InputFile, texts: frozenset[str]) -> LineFormat:
    try:
        if file.format == "csv":
            return Delimited.open(file, texts)
        return JsonLines.open(file) if file.format == "jsonl" else TextLines.open(file)
    except READ_ERRORS as error:
        raise CorpusError(f"{file.path}: cannot be read ({reason(error)})") from error


def _agree(sources: Sequence[Source], known: Columns | None) -> pa.Schema:
    """The columns of all sources. Raises CorpusError naming the first file that differs, and how."""
    told = with_rows(sources)
    if not (told or known):
        raise CorpusError(f"{sources[0].path}: is empty, as are all {len(sources):,} files; there is nothing to read")
    kind = known.kind if known else told[0].kind
    schema = known.schema if known else told[0].evidence
    example = known.where if known else told[0].path
    for source in told if known else told[1:]:
        try:
            schema = source.merge(schema) if source.kind == kind else require_same_columns(schema, source.schema)
            schema = readable(schema) if kind == "jsonl" else schema
            if known:
                require_same_columns(known.schema, schema)
        except (ValueError, pa.ArrowException) as error:
            raise CorpusError(f"{source.path}: {error}; all files must have the columns of {example}") from error
    schema = declared(schema, told)
    return readable(schema) if kind == "jsonl" else schema
