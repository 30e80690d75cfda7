"""CSV and TSV through pyarrow's reader, with types only where they lose nothing.

A column is int64, double or bool when *every* value of the file is one and writing it back gives the same number;
all else stays the string that the file holds: dates, times, `007`, `0x1F`, ids too long for a double, `NA`.
An empty field is null in a typed column and "" in a string column; a column of empty fields only is of type null.
"""

import csv
import io
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from ..errors import CorpusError
from ..redaction import without_values
from .listing import InputFile
from .record import BYTE_ORDER_MARK, Block, Borders, UnclosedRecordError, read_blocks
from .source import NoRowsError

DELIMITERS = ",;\t|"
"""The one that the header holds most often is taken; a comma when it holds none."""

_EXACT = {
    pa.int64(): r"^(-?[1-9][0-9]*|0)$",
    # No leading zeros, no hexadecimal, and no integer of more digits than a double keeps.
    pa.float64(): r"^-?(([1-9][0-9]{0,14}|0)?\.[0-9]{0,20}|[1-9][0-9]{0,14}|0)([eE][+-]?[0-9]+)?$|^-?(nan|NaN|inf)$",
    pa.bool_(): "^(?i:true|false)$",  # Arrow takes 1 and 0 as well
}


@dataclass(frozen=True, slots=True)
class Delimited:
    """Fields split by `delimiter`, quoted with `"`. `names` is the header; columns in `texts` are never typed."""

    delimiter: str
    names: tuple[str, ...]
    start: tuple[int, int]
    texts: frozenset[str]

    @classmethod
    def open(cls, file: InputFile, texts: frozenset[str]) -> "Delimited":
        """Read the header. Raises CorpusError when there is none, or a name comes up twice."""
        try:
            with file.open() as stream:
                delimiter, header = _header(stream)
            # An empty line end: lines are the reader's to find, inside quotes as well.
            names, *more = csv.reader(io.StringIO(header.data.decode().strip("\r\n"), ""), delimiter=delimiter)
        except StopIteration:
            raise NoRowsError(f"{file.path}: is empty; the first line of a CSV file names its columns") from None
        except UnclosedRecordError as error:
            raise CorpusError(f"{file.path}:{error.line}: {error}") from error
        except UnicodeDecodeError as error:
            raise CorpusError(f"{file.path}:1: not UTF-8 in the header; convert the file to UTF-8 first") from error
        except csv.Error as error:
            raise CorpusError(f"{file.path}:1: not a CSV header ({error})") from error
        if more:
            raise CorpusError(f"{file.path}:1: the line ends are CR alone; convert them to LF first")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise CorpusError(f"{file.path}:1: columns named twice: {', '.join(map(repr, twice))}")
        return cls(delimiter, tuple(names), (header.end_byte, header.first_line + header.data.count(b"\n")), texts)

    @property
    def borders(self) -> Borders:
        return _borders(self.delimiter)

    def infer(self, block: Block) -> pa.Schema:
        if not block.rows:
            return pa.schema([(name, pa.string() if name in self.texts else pa.null()) for name in self.names])
        written = self._read(block, dict.fromkeys(self.names, pa.string()))
        guessed = self._read(block, {name: pa.string() for name in self.names if name in self.texts})
        kinds = [_exact(text, guess) for text, guess in zip(written.columns, guessed.columns, strict=True)]
        return pa.schema(list(zip(self.names, kinds, strict=True)))

    def merge(self, known: pa.Schema, seen: pa.Schema) -> pa.Schema:
        if known.names != seen.names:
            raise ValueError(f"the header is {', '.join(seen.names)!r}, not {', '.join(known.names)!r}")
        pairs = zip(known, seen, strict=True)
        return pa.schema([(ours.name, _widest(ours.type, theirs.type)) for ours, theirs in pairs])

    def parse(self, block: Block, schema: pa.Schema) -> pa.RecordBatch:
        table = self._read(block, {field.name: field.type for field in schema}).select(schema.names)
        columns = [column.combine_chunks() for column in table.columns]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    def _read(self, block: Block, kinds: dict[str, pa.DataType]) -> pa.Table:
        try:
            table = pa_csv.read_csv(
                io.BytesIO(block.data),
                pa_csv.ReadOptions(
                    column_names=list(self.names), use_threads=False, block_size=max(len(block.data) + 1, 1 << 16)
                ),
                pa_csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
                pa_csv.ConvertOptions(column_types=kinds, null_values=[""], strings_can_be_null=False),
            )
        except pa.ArrowInvalid as error:
            said = without_values(str(error))
            raise ValueError(said.removeprefix("CSV parse error: ").removeprefix("Row #1: ")) from error
        if table.num_rows != block.rows:
            raise ValueError(f"{table.num_rows} rows where {block.rows} were counted; is every line end LF or CR LF?")
        return table


def _exact(written: pa.ChunkedArray, guessed: pa.ChunkedArray) -> pa.DataType:
    """The type that Arrow guessed if it is one that gives back what is written, else string; null for no value."""
    kind = guessed.type
    if kind not in _EXACT:
        return kind if pa.types.is_null(kind) else pa.string()
    exact = pc.or_(pc.equal(written, ""), pc.match_substring_regex(written, _EXACT[kind]))
    return kind if pc.all(exact).as_py() else pa.string()


def _widest(known: pa.DataType, seen: pa.DataType) -> pa.DataType:
    if known == seen or pa.types.is_null(seen):
        return known
    if pa.types.is_null(known):
        return seen
    return pa.float64() if {known, seen} == {pa.int64(), pa.float64()} else pa.string()


def _header(stream: BinaryIO) -> tuple[str, Block]:
    """The delimiter and the first record. Raises StopIteration for a file without one, UnclosedRecordError."""
    first_byte = len(BYTE_ORDER_MARK) if stream.read(3) == BYTE_ORDER_MARK else 0
    stream.seek(first_byte)
    line = stream.readline(1 << 20)
    delimiter = max(DELIMITERS, key=lambda delimiter: line.count(delimiter.encode()))
    blocks = read_blocks(stream, _borders(delimiter), first_byte=first_byte, max_rows=1)
    return delimiter, next(block for block in blocks if block.rows)


def _borders(delimiter: str) -> Borders:
    return Borders(is_blank=_is_blank, ends_inside=partial(_ends_inside, (delimiter + '"').encode()))


def _is_blank(line: bytes) -> bool:
    return not line.strip(b"\r\n")


def _ends_inside(opening: bytes, line: bytes, inside: bool) -> bool:
    """Whether a quoted field is open after `line`; a quote opens one only at a field's start, as Arrow reads it."""
    position = 0
    if not inside and line.startswith(b'"'):
        inside, position = True, 1
    while True:
        if not inside:
            found = line.find(opening, position)
            if found < 0:
                return False
            inside, position = True, found + len(opening)
        found = line.find(b'"', position)
        if found < 0:
            return True
        doubled = line[found + 1 : found + 2] == b'"'
        inside, position = doubled, found + 1 + doubled
