"""Line formats cut at record borders: blocks of whole records, and their place in the file.

A block is what one parse works on, and a shard is a run of blocks, so a shard is re-read by seeking to its first byte.
Deliberately knows nothing of columns or types.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Windows programs begin UTF-8 files with it; it is no part of the content."""

BLOCK_BYTES = 4 << 20
"""A block ends at the first record border past this, so one long record makes one long block."""

RECORD_BYTES = 256 << 20
"""A record that goes on for longer is taken as damage (a quote that never closes, no line ends at all)."""


def _never(*_: object) -> bool:
    return False


def _at_its_end(_line: bytes, _state: int) -> int:
    return 0


def _accept(_record: bytes) -> None:
    """Nothing is wrong with it."""


@dataclass(frozen=True, slots=True)
class Borders:
    """Where records of a format end.

    is_blank: whether a record makes no row. state_after: the state in which a line ends that begins in another one; 0
    is the end of a record. check: looks at a record of several lines. Both raise ValueError. hint: what to say of a
    record that never ends.
    """

    is_blank: Callable[[bytes], bool] = _never
    state_after: Callable[[bytes, int], int] = _at_its_end
    check: Callable[[bytes], None] = _accept
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """Whole records: their bytes, how many rows they make, and where they begin (byte from 0, line from 1)."""

    data: bytes
    rows: int
    first_byte: int
    first_line: int

    @property
    def end_byte(self) -> int:
        return self.first_byte + len(self.data)


class MalformedRecordError(ValueError):
    """A record that cannot be told from what is around it; `line` is where this was seen."""

    def __init__(self, line: int, message: str) -> None:
        self.line = line
        super().__init__(message)


def read_blocks(
    stream: BinaryIO,
    borders: Borders,
    *,
    first_byte: int = 0,
    first_line: int = 1,
    end_byte: int | None = None,
    max_rows: int,
    limit: int | None = None,
) -> Iterator[Block]:
    """Blocks of at most `max_rows` rows from `first_byte` to `end_byte`, `limit` rows in all.

    Raises MalformedRecordError, OSError.
    """
    stream.seek(first_byte)
    position, line, rows, left = first_byte, first_line, 0, limit
    records: list[bytes] = []
    start = position, line
    for record, lines in _records(stream, borders, first_line):
        if left == 0 or position == end_byte:
            break
        records.append(record)
        position, line = position + len(record), line + lines
        if not borders.is_blank(record):
            rows += 1
            left = None if left is None else left - 1
        if rows == max_rows or position - start[0] >= BLOCK_BYTES:
            yield Block(b"".join(records), rows, *start)
            records, rows, start = [], 0, (position, line)
    if records:
        yield Block(b"".join(records), rows, *start)


def _records(stream: BinaryIO, borders: Borders, first_line: int) -> Iterator[tuple[bytes, int]]:
    """Each record with its number of lines, from where the stream stands to its end."""
    line = first_line
    while record := stream.readline(RECORD_BYTES):
        lines, size = 1, len(record)
        if state := _state_after(borders, record, 0, line):
            parts = [record]
            while state:
                parts.append(stream.readline(RECORD_BYTES))
                lines, size = lines + 1, size + len(parts[-1])
                if not parts[-1] or size >= RECORD_BYTES:
                    raise _unclosed(line, borders)
                state = _state_after(borders, parts[-1], state, line + lines - 1)
            record = b"".join(parts)
            try:
                borders.check(record)
            except ValueError as error:
                raise MalformedRecordError(line, str(error)) from error
        if size >= RECORD_BYTES:
            raise _unclosed(line, borders)
        yield record, lines
        line += lines


def _state_after(borders: Borders, line: bytes, state: int, number: int) -> int:
    try:
        return borders.state_after(line, state)
    except ValueError as error:
        raise MalformedRecordError(number, str(error)) from error


def _unclosed(line: int, borders: Borders) -> MalformedRecordError:
    said = f"a record begins here that never ends; is a closing quote or a line end missing?{borders.hint}"
    return MalformedRecordError(line, said)
