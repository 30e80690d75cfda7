"""JSON Lines through pyarrow's reader, with types that keep every value as it was written."""

import io
import json
import re
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.json as pa_json

from ..errors import CorpusError
from ..redaction import without_values
from .listing import InputFile
from .record import BYTE_ORDER_MARK, Block, Borders

_LONG_INTEGER = re.compile(rb"[:\[,\s]-?[0-9]{17,}\s*[,}\]]")

_CONFLICT = (
    r"^Unable to merge: Field (.*) has incompatible types: (.*) vs (.*)$",
    r"column '\1' was \2 so far and is \3 here",
)


@dataclass(frozen=True, slots=True)
class JsonLines:
    """One object a line; nested values become structs and lists. `start` is (first byte, first line)."""

    start: tuple[int, int]

    @classmethod
    def open(cls, file: InputFile) -> "JsonLines":
        """Raises CorpusError when the file is one JSON array instead."""
        with file.open() as stream:
            head = stream.read(64)
        if head.removeprefix(BYTE_ORDER_MARK).lstrip()[:1] == b"[":
            raise CorpusError(
                f"{file.path}: one JSON array, not JSON Lines; write one object a line first (jq -c '.[]' does)"
            )
        return cls((len(BYTE_ORDER_MARK) if head.startswith(BYTE_ORDER_MARK) else 0, 1))

    @property
    def borders(self) -> Borders:
        return Borders(is_blank=bytes.isspace)

    def infer(self, block: Block) -> pa.Schema:
        if not block.rows:
            raise ValueError("is empty: it holds no JSON object")
        table = _read(block, None)
        fields = [field.with_type(_as_written(field.type)) for field in table.schema]
        if any(pa.types.is_floating(kind) for field in fields for kind in _leaves(field.type)):
            _require_exact_integers(block, fields)
        return pa.schema(fields)

    def merge(self, known: pa.Schema, seen: pa.Schema) -> pa.Schema:
        """A field that only some objects have is null in the others; whole numbers and fractions make fractions."""
        try:
            return pa.unify_schemas([known, seen], promote_options="permissive")
        except pa.ArrowTypeError as error:
            raise ValueError(re.sub(*_CONFLICT, str(error))) from error

    def parse(self, block: Block, schema: pa.Schema) -> pa.RecordBatch:
        table = _read(block, schema)
        table.validate(full=True)  # the reader has made invalid arrays before, see `readable`
        return pa.RecordBatch.from_arrays([column.combine_chunks() for column in table.columns], schema=schema)


def readable(schema: pa.Schema) -> pa.Schema:
    """`schema` with lists of nothing but nulls as lists of strings.

    As a list of null, Arrow 26 reads `[null]` into an invalid array (apache/arrow#51305); as another list it does not.
    """
    return pa.schema([field.with_type(_readable(field.type)) for field in schema])


def _readable(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(pa.string() if pa.types.is_null(kind.value_type) else _readable(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_readable(field.type)) for field in kind])
    return kind


def _read(block: Block, schema: pa.Schema | None) -> pa.Table:
    try:
        table = pa_json.read_json(
            io.BytesIO(block.data),
            read_options=pa_json.ReadOptions(use_threads=False, block_size=len(block.data) + 1),
            parse_options=pa_json.ParseOptions(
                explicit_schema=schema, unexpected_field_behavior="infer" if schema is None else "ignore"
            ),
        )
    except pa.ArrowInvalid as error:
        raise ValueError(_reason(block, error)) from error
    if table.num_rows != block.rows:
        raise ValueError(f"{table.num_rows} JSON values in {block.rows} lines; write one object a line")
    return table


def _reason(block: Block, error: pa.ArrowInvalid) -> str:
    """Arrow's message is about a row of the block; for a single line the standard parser says it better."""
    if block.rows == 1:
        try:
            if not isinstance(json.loads(block.data), dict):
                return "not a JSON object; write one object a line"
        except ValueError as fault:
            return f"not valid JSON ({fault})"
    return re.sub(r"^JSON parse error: (.*?)( in row \d+)?$", r"\1", without_values(str(error)))


def _as_written(kind: pa.DataType) -> pa.DataType:
    """`kind` with strings left strings: Arrow takes those that look like a time for one and drops their spelling."""
    if pa.types.is_timestamp(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_as_written(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_as_written(field.type)) for field in kind])
    return kind


def _leaves(kind: pa.DataType) -> list[pa.DataType]:
    children = [kind.field(index).type for index in range(kind.num_fields)]
    return [leaf for child in children for leaf in _leaves(child)] if children else [kind]


def _require_exact_integers(block: Block, fields: list[pa.Field]) -> None:
    """Arrow turns an integer beyond 64 bits, or one among fractions, into the nearest float: an id would be altered."""
    if not _LONG_INTEGER.search(block.data):
        return
    types = {field.name: field.type for field in fields}
    for line in block.data.split(b"\n"):
        for name, value in (json.loads(line or b"{}") or {}).items():
            if isinstance(value, int) and abs(value) > 2**53 and pa.types.is_floating(types[name]):
                raise ValueError(
                    f"column {name!r}: a number of {len(str(value))} digits cannot be kept exactly; quote it"
                )
