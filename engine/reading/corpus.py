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

from ..columns import choose_text_column, column_texts, require_column, require_free_names
from ..errors import CorpusError
from ..share import Share
from .agreement import declared, note, with_rows
from .delimited import Delimited
from .dialect import Dialect
from .jsonl import JsonLines
from .jsontype import settled
from .lake import Partitioned
from .line import LineFormat, LineSource
from .listing import READ_ERRORS, InputFile, list_files
from .parquet import ParquetSource
from .plaintext import TextFiles, TextLines
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
    dialect: Dialect | None = None,
) -> Corpus:
    """Open files, folders (recursive), globs and store URIs as one corpus, in the order given and sorted within each.

    `text_column` may be absent when there is a column `text` or a single string column. `limit` takes the first rows
    only. `text_unit` says what a text is in `.txt` files. `share` takes its part of the shards. `known` are columns
    that earlier rows of the same output have: these must fit them. `dialect` says how CSV is written. Raises
    CorpusError; nothing has been written then.
    """
    if limit is not None and limit < 1:
        raise CorpusError(f"limit must be at least 1, not {limit}")
    files = list_files(paths)
    texts = frozenset({text_column or "text"})
    is_alone = len(files) == 1 and known is None
    cut = partial(
        _open_sources,
        files,
        texts,
        text_unit,
        batch_rows=batch_rows,
        limit=limit,
        dialect=dialect,
        is_alone=is_alone,
    )
    sources = tuple(cut(shard_rows=shard_rows))
    rows = sum(part.rows for source in sources for part in source.cuts)
    if share is not None and (finer := max(1, -(-rows // (SHARDS_A_SHARE * share.count)))) < shard_rows:
        sources = tuple(cut(shard_rows=finer))
    schema = _agree(sources, known)
    try:
        if id_column is not None:
            require_column(schema, id_column, "id")
        column = choose_text_column(schema, text_column, besides=id_column)
        if column != "text" and text_column is None and id_column is None and sources[0].kind == "csv":
            # All else in a header may as well be the first row of a file without one.
            raise CorpusError(f"no column 'text'; if the text column is {column!r}, name it with --text-column")
    except CorpusError as error:
        raise CorpusError(f"{error}{_note(sources[0])}") from error
    _require_storable(schema, sources[0].path)
    return Corpus(sources, schema, column, batch_rows, files, share, note(schema, sources))


def _require_storable(schema: pa.Schema, path: str) -> None:
    require_free_names(schema.names, f"{path}:")
    try:
        pq.ParquetWriter(pa.BufferOutputStream(), schema).close()
    except pa.ArrowException as error:
        # An object that is always {} is the usual case.
        raise CorpusError(f"{path}: a column cannot be stored as Parquet; drop it ({error})") from error


def _open_sources(
    files: Sequence[InputFile],
    texts: frozenset[str],
    text_unit: TextUnit,
    *,
    shard_rows: int,
    batch_rows: int,
    limit: int | None,
    dialect: Dialect | None,
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
                form = _line_format(first, texts, dialect)
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


def _note(source: Source) -> str:
    """How a source came to its columns, for a message that lists them."""
    form = source.format if isinstance(source, LineSource) else None
    return f". {source.path}: {form.note}" if isinstance(form, Delimited) else ""


def _line_format(file: InputFile, texts: frozenset[str], dialect: Dialect | None) -> LineFormat:
    try:
        if file.format == "csv":
            return Delimited.open(file, texts, dialect)
        return JsonLines.open(file, texts) if file.format == "jsonl" else TextLines.open(file)
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
            if known:
                require_same_columns(known.schema, settled(schema) if kind == "jsonl" else schema)
        except (ValueError, pa.ArrowException) as error:
            untyped = "; a CSV column is a string unless you say --infer-types" if "csv" in (kind, source.kind) else ""
            raise CorpusError(
                f"{source.path}: {error}; all files must have the columns of {example}{untyped}"
            ) from error
    schema = declared(schema, told)
    return settled(schema) if kind == "jsonl" else schema
