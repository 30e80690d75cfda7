"""CSV and TSV through pyarrow's reader: every field as the file has it.

All columns are strings. With `infer_types` a column is int64, double or bool if every value in it, written back, gives
the same characters (`TRUE` and `False` are bools too); all others stay strings: `007`, `12E5`, `1.10`, dates, `NA`. An
empty field is "" in a string column and null in a typed one; a column of empty fields only is then of type null.
"""

import csv
import io
import math
import re
from dataclasses import dataclass, replace
from functools import partial
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from ..errors import CorpusError
from ..redaction import without_values
from .dialect import Dialect
from .listing import InputFile
from .record import BYTE_ORDER_MARK, Block, Borders, MalformedRecordError, read_blocks
from .source import NoRowsError

DELIMITERS = ",;\t|"
"""The one that the header holds most often is taken; a comma when it holds none."""

_SEPARATOR_LINE = re.compile(rb"\"?sep=([\x20-\x7e\t])\"?\r?\n")
"""The line that tells Excel the delimiter; it stands before the header."""

_COUNTS = re.compile(r"^(?:Row #1: )?Expected (\d+) columns, got (\d+).*$", re.DOTALL)

_EXACT = {pa.int64(): r"^(-?[1-9][0-9]*|0)$", pa.bool_(): "^(?i:true|false)$"}  # Arrow takes +1, 1 and 0 as well


@dataclass(frozen=True, slots=True)
class Delimited:
    """Fields split and quoted as `dialect` says. `names` is the header; columns in `texts` are never typed."""

    dialect: Dialect
    names: tuple[str, ...]
    start: tuple[int, int]
    texts: frozenset[str]

    @classmethod
    def open(cls, file: InputFile, texts: frozenset[str], dialect: Dialect | None = None) -> "Delimited":
        """Read the header. Raises CorpusError when there is none, or a name comes up twice."""
        line = 1
        try:
            with file.open() as stream:
                first_byte, line, dialect = _before_header(stream, dialect or Dialect())
                header = _header(stream, dialect, first_byte, line)
            line = header.first_line
            names, *more = dialect.fields(header.data.decode().strip("\r\n"))
        except StopIteration:
            raise NoRowsError(f"{file.path}: is empty; the first line of a CSV file names its columns") from None
        except MalformedRecordError as error:
            raise CorpusError(f"{file.path}:{error.line}: {error}") from error
        except UnicodeDecodeError as error:
            raise CorpusError(
                f"{file.path}:{line}: not UTF-8 in the header; convert the file to UTF-8 first"
            ) from error
        except csv.Error as error:
            raise CorpusError(f"{file.path}:{line}: not a CSV header ({error})") from error
        if more:
            raise CorpusError(f"{file.path}:{line}: the line ends are CR alone; convert them to LF first")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            split = f"the line is split at {_shown(dialect)}"
            raise CorpusError(f"{file.path}:{line}: columns named twice: {', '.join(map(repr, twice))}; {split}")
        return cls(dialect, tuple(names), (header.end_byte, line + header.data.count(b"\n")), texts)

    @property
    def borders(self) -> Borders:
        return _borders(self.dialect, len(self.names))

    @property
    def note(self) -> str:
        """How the columns came about, for messages about them."""
        return f"the header is split at {_shown(self.dialect)}; a file needs a header, and --delimiter names another"

    def infer(self, block: Block) -> pa.Schema:
        strings = dict.fromkeys(self.names, pa.string())
        if not block.rows:
            empty = pa.null() if self.dialect.infer_types else pa.string()
            return pa.schema([(name, pa.string() if name in self.texts else empty) for name in self.names])
        written = self._read(block, strings)
        if not self.dialect.infer_types:
            return written.schema
        guessed = self._read(block, {name: pa.string() for name in self.names if name in self.texts})
        kinds = [_exact(text, guess) for text, guess in zip(written.columns, guessed.columns, strict=True)]
        return pa.schema(list(zip(self.names, kinds, strict=True)))

    def merge(self, known: pa.Schema, seen: pa.Schema) -> pa.Schema:
        if known.names != seen.names:
            split = f"split at {_shown(self.dialect)}"
            raise ValueError(f"the header is {', '.join(seen.names)!r}, not {', '.join(known.names)!r} ({split})")
        pairs = zip(known, seen, strict=True)
        return pa.schema([(ours.name, _widest(ours.type, theirs.type)) for ours, theirs in pairs])

    def parse(self, block: Block, schema: pa.Schema) -> pa.RecordBatch:
        table = self._read(block, {field.name: field.type for field in schema}).select(schema.names)
        columns = [column.combine_chunks() for column in table.columns]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    def _read(self, block: Block, kinds: dict[str, pa.DataType]) -> pa.Table:
        dialect = self.dialect
        # Arrow drops a byte order mark at the beginning of what it is given; here it is the beginning of a field.
        data = BYTE_ORDER_MARK + block.data if block.data.startswith(BYTE_ORDER_MARK) else block.data
        try:
            table = pa_csv.read_csv(
                io.BytesIO(data),
                pa_csv.ReadOptions(
                    column_names=list(self.names), use_threads=False, block_size=max(len(data) + 1, 1 << 16)
                ),
                pa_csv.ParseOptions(
                    delimiter=dialect.delimiter,
                    quote_char=dialect.quote_character or False,
                    escape_char=dialect.escape or False,
                    newlines_in_values=bool(dialect.quote_character or dialect.escape),
                ),
                pa_csv.ConvertOptions(column_types=kinds, null_values=[""], strings_can_be_null=False),
            )
        except pa.ArrowInvalid as error:
            raise ValueError(self._reason(error)) from error
        if table.num_rows != block.rows:
            raise ValueError(f"{table.num_rows} rows where {block.rows} were counted; is every line end LF or CR LF?")
        return table

    def _reason(self, error: pa.ArrowInvalid) -> str:
        said = without_values(str(error)).removeprefix("CSV parse error: ")
        if counts := _COUNTS.match(said):
            expected, seen = map(int, counts.groups())
            few = ", ".join(map(repr, self.names[:5])) + (", ..." if len(self.names) > 5 else "")
            return (
                f"{seen} field{'s' * (seen != 1)} where the header has {expected} ({few}), split at "
                f"{_shown(self.dialect)}; correct the line or the header, or name another delimiter with --delimiter"
            )
        return said.removeprefix("Row #1: ")


def _exact(written: pa.ChunkedArray, guessed: pa.ChunkedArray) -> pa.DataType:
    """The type that Arrow guessed if it gives back the characters that are written, else string; null for no value."""
    kind = guessed.type
    if pa.types.is_null(kind):
        return kind
    if kind == pa.float64():
        return kind if all(map(_is_written_by_double, pc.unique(written).to_pylist())) else pa.string()
    if kind not in _EXACT:
        return pa.string()
    exact = pc.or_(pc.equal(written, ""), pc.match_substring_regex(written, _EXACT[kind]))
    return kind if pc.all(exact).as_py() else pa.string()


def _is_written_by_double(text: str) -> bool:
    try:
        value = float(text or "0.0")
    except ValueError:  # such as 0x1F
        return False
    return not text or (math.isfinite(value) and repr(value) == text)


def _widest(known: pa.DataType, seen: pa.DataType) -> pa.DataType:
    if known == seen or pa.types.is_null(seen):
        return known
    return seen if pa.types.is_null(known) else pa.string()


def _before_header(stream: BinaryIO, dialect: Dialect) -> tuple[int, int, Dialect]:
    """First byte and line of the header, and `dialect` with a delimiter."""
    first_byte = len(BYTE_ORDER_MARK) if stream.read(3) == BYTE_ORDER_MARK else 0
    stream.seek(first_byte)
    line = stream.readline(1 << 20)
    if named := _SEPARATOR_LINE.fullmatch(line):
        delimiter = named[1].decode()
        if dialect.delimiter not in (None, delimiter):
            raise MalformedRecordError(
                1, f"this line says that the delimiter is {delimiter!r}, and --delimiter does not"
            )
        return first_byte + len(line), 2, replace(dialect, delimiter=delimiter)
    free = [character for character in DELIMITERS if character not in (dialect.quote, dialect.escape)]
    found = max(free, key=lambda character: line.count(character.encode()))
    return first_byte, 1, replace(dialect, delimiter=dialect.delimiter or found)


def _header(stream: BinaryIO, dialect: Dialect, first_byte: int, first_line: int) -> Block:
    """The first record. Raises StopIteration for a file without one, MalformedRecordError."""
    blocks = read_blocks(stream, _borders(dialect), first_byte=first_byte, first_line=first_line, max_rows=1)
    return next(block for block in blocks if block.rows)


def _borders(dialect: Dialect, columns: int = 0) -> Borders:
    if not dialect.quote_character and not dialect.escape:
        return Borders(is_blank=_is_blank)
    check = partial(dialect.require_clear, columns=columns)
    return Borders(_is_blank, dialect.state_after, check, dialect.unclosed_hint)


def _is_blank(line: bytes) -> bool:
    return not line.strip(b"\r\n")


def _shown(dialect: Dialect) -> str:
    return "tabs" if dialect.delimiter == "\t" else repr(dialect.delimiter)
