"""Plain text as a source: a line a text, or a file a text."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from ..errors import CorpusError
from .listing import READ_ERRORS, InputFile
from .record import BYTE_ORDER_MARK, Block, Borders
from .source import BATCH_BYTES, Cut, group, require_same_columns
from .store import reason

LINES = pa.schema([("text", pa.string())])
FILES = pa.schema([("path", pa.string()), ("text", pa.string())])


@dataclass(frozen=True, slots=True)
class TextLines:
    """Every line is a text, without its LF or CR LF; an empty line is an empty text, so row n is line n."""

    start: tuple[int, int]

    @classmethod
    def open(cls, file: InputFile) -> "TextLines":
        with file.open() as stream:
            return cls((len(BYTE_ORDER_MARK) if stream.read(3) == BYTE_ORDER_MARK else 0, 1))

    @property
    def borders(self) -> Borders:
        return Borders()

    def infer(self, block: Block) -> pa.Schema:
        if not block.rows:
            raise ValueError("is empty: it holds no line")
        return LINES

    def merge(self, known: pa.Schema, seen: pa.Schema) -> pa.Schema:
        return require_same_columns(known, seen)

    def parse(self, block: Block, schema: pa.Schema) -> pa.RecordBatch:
        lines = [line.removesuffix("\r") for line in block.data.decode().removesuffix("\n").split("\n")]
        return pa.RecordBatch.from_arrays([pa.array(lines, pa.string())], schema=schema)


@dataclass(frozen=True, slots=True)
class TextFiles:
    """Every file is a text: rows of its path and its whole content, line ends included."""

    files: tuple[InputFile, ...]
    schema: pa.Schema
    cuts: tuple[Cut, ...]
    digest: str

    @property
    def kind(self) -> str:
        return "text"

    @property
    def path(self) -> str:
        first = self.files[0].path
        return first if len(self.files) == 1 else f"{first} and {len(self.files) - 1:,} more"

    @property
    def evidence(self) -> pa.Schema:
        return self.schema

    @classmethod
    def survey(cls, files: tuple[InputFile, ...], *, shard_rows: int, limit: int | None) -> "TextFiles":
        """Read every file once. Raises CorpusError for one that is not UTF-8."""
        files = files[:limit]
        digest = hashlib.blake2b(digest_size=16)
        for file in files:
            text = _read(file).encode()
            digest.update(f"{file.path}\0{len(text)}\0".encode(errors="surrogateescape") + text)
        groups = group([(1, file.size) for file in files], shard_rows)
        cuts = tuple(Cut(first, last - first) for first, last in groups)
        return cls(files, FILES, cuts, digest.hexdigest())

    def merge(self, known: pa.Schema) -> pa.Schema:
        return require_same_columns(known, self.schema)

    def batches(self, cut: Cut, schema: pa.Schema, batch_rows: int) -> Iterator[pa.RecordBatch]:
        files = self.files[cut.first_row : cut.first_row + cut.rows]
        rows: list[tuple[str, str]] = []
        size = 0
        for file in files:
            file.require_unchanged()
            rows.append((file.path, _read(file)))
            size += file.size
            if len(rows) == batch_rows or size >= BATCH_BYTES:
                yield _batch(rows, schema)
                rows, size = [], 0
        if rows:
            yield _batch(rows, schema)


def _batch(rows: list[tuple[str, str]], schema: pa.Schema) -> pa.RecordBatch:
    columns = dict(zip(FILES.names, zip(*rows, strict=True), strict=True))
    return pa.RecordBatch.from_arrays([pa.array(columns[name], pa.string()) for name in schema.names], schema=schema)


def _read(file: InputFile) -> str:
    """The content without a byte order mark."""
    try:
        with file.open() as stream:
            data = stream.read().removeprefix(BYTE_ORDER_MARK)
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CorpusError(f"{file.path}:{line}: not UTF-8 ({error.reason}); convert the file to UTF-8 first") from error
    except READ_ERRORS as error:
        raise CorpusError(f"{file.path}: cannot be read ({reason(error)})") from error
