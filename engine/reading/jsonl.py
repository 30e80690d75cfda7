"""JSON Lines: Arrow's reader where it keeps every value, and Python's own parser where it would not.

Arrow is fast, but it turns a number that no type of its own holds into the nearest double, and refuses a block for one
half of a surrogate pair. Such blocks are read value by value: see `jsontype` for what becomes of numbers. Measured on
one core, the pass before a run: 91 MB/s; 14 where fractions have 16 digits, which are looked at one by one; 9 value by
value.
"""

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.json as pa_json

from ..columns import SURROGATES
from ..errors import CorpusError
from .jsontype import (
    Kind,
    array_of,
    count_integers_no_doubles,
    count_no_doubles,
    holds_numerals,
    kind_in,
    kind_of,
    kinds_of,
    load,
    merge,
    schema_of,
)
from .listing import InputFile
from .record import BYTE_ORDER_MARK, Block, Borders

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class JsonLines:
    """One object a line; nested values become structs and lists. `start` is (first byte, first line).

    A value of the columns in `texts` may hold half of a surrogate pair: its row fails, and the corpus does not.
    """

    start: tuple[int, int]
    texts: frozenset[str] = frozenset()

    @classmethod
    def open(cls, file: InputFile, texts: frozenset[str] = frozenset()) -> "JsonLines":
        """Raises CorpusError when the file is one JSON array instead."""
        with file.open() as stream:
            head = stream.read(64)
        if head.removeprefix(BYTE_ORDER_MARK).lstrip()[:1] == b"[":
            raise CorpusError(
                f"{file.path}: one JSON array, not JSON Lines; write one object a line first (jq -c '.[]' does)"
            )
        return cls((len(BYTE_ORDER_MARK) if head.startswith(BYTE_ORDER_MARK) else 0, 1), texts)

    @property
    def borders(self) -> Borders:
        return Borders(is_blank=bytes.isspace)

    def infer(self, block: Block) -> pa.Schema:
        if not block.rows:
            raise ValueError("is empty: it holds no JSON object")
        table = _read(block, None)
        if table is not None:
            # Neither `combine_chunks` nor `flatten`: both look at arrays that `settled` says may be invalid.
            arrays = [column.chunk(0) for column in table.columns]
            kinds = {name: kind_in(array) for name, array in zip(table.column_names, arrays, strict=True)}
            if not any(map(_holds_doubles, kinds.values())):
                return schema_of(kinds)
            # Where all long numbers are in columns of integers, none was made a double that it is not.
            if count_no_doubles(block.data) == sum(map(count_integers_no_doubles, arrays)):
                return schema_of(kinds)
        kinds = {}
        for record in self._records(block):
            kinds = merge(kinds, kind_of(record))
        return schema_of(kinds)

    def merge(self, known: pa.Schema, seen: pa.Schema) -> pa.Schema:
        """A field that only some objects have is null in the others; whole numbers and fractions make fractions."""
        return schema_of(merge(kinds_of(known), kinds_of(seen)))

    def parse(self, block: Block, schema: pa.Schema) -> pa.RecordBatch:
        table = None if any(map(holds_numerals, kinds_of(schema).values())) else _read(block, schema)
        if table is None:
            return self._batch(list(self._records(block)), schema)
        table.validate(full=True)  # the reader has made invalid arrays before, see `settled`
        return pa.RecordBatch.from_arrays([column.combine_chunks() for column in table.columns], schema=schema)

    def _records(self, block: Block) -> Iterator[dict[str, Any]]:
        """The objects of the lines that are not blank. Raises ValueError."""
        for line in block.data.split(b"\n"):
            if line and not line.isspace():
                record = load(line)
                if b"\\u" in line:
                    self._require_whole_characters(record)
                yield record

    def _require_whole_characters(self, record: dict[str, Any]) -> None:
        for name, value in record.items():
            if not (isinstance(value, str) and name in self.texts) and (half := _half(value) or _half(name)):
                raise ValueError(
                    f"column {ascii(name)[1:-1]!r} holds half of a surrogate pair ({half}), which UTF-8 cannot store; "
                    "write the whole character"
                )

    def _batch(self, records: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
        """The records as rows. Texts with half of a surrogate pair become bytes that are no UTF-8."""
        columns, is_whole = [], True
        for field in schema:
            values = [record.get(field.name) for record in records]
            if field.name in self.texts and any(map(_half, values)):
                encoded = [None if value is None else value.encode(errors="surrogatepass") for value in values]
                columns.append(pa.array(encoded, pa.binary()).view(pa.string()))
                is_whole = False
            else:
                columns.append(array_of(values, field))
        batch = pa.RecordBatch.from_arrays(columns, schema=schema)
        return batch if is_whole else batch.replace_schema_metadata({**(schema.metadata or {}), **SURROGATES})


def _read(block: Block, schema: pa.Schema | None) -> pa.Table | None:
    """The block as Arrow reads it; None where Arrow refuses it."""
    try:
        table = pa_json.read_json(
            io.BytesIO(block.data),
            read_options=pa_json.ReadOptions(use_threads=False, block_size=len(block.data) + 1),
            parse_options=pa_json.ParseOptions(
                explicit_schema=schema, unexpected_field_behavior="infer" if schema is None else "ignore"
            ),
        )
    except pa.ArrowInvalid:
        return None
    return table if table.num_rows == block.rows else None


def _holds_doubles(kind: Kind) -> bool:
    if isinstance(kind, dict):
        return any(map(_holds_doubles, kind.values()))
    return _holds_doubles(kind[0]) if isinstance(kind, list) else kind == "double"


def _half(value: object) -> str | None:
    """The first half of a surrogate pair in a value or inside it, as JSON spells it."""
    if isinstance(value, str):
        found = _SURROGATE.search(value)
        return f"\\u{ord(found[0]):04x}" if found else None
    members = value if isinstance(value, list) else [*value, *value.values()] if isinstance(value, dict) else ()
    return next(filter(None, map(_half, members)), None)
