"""The types of JSON values: as narrow as what was seen, and never so narrow that a value would change.

A field gets a number type only if this type holds each of its numbers exactly. `int64` holds whole numbers of up to 64
bits. `double` holds a number if writing the double with as many digits as the file has gives the same number. All other
fields of numbers become strings with the numbers as the file spells them, and their metadata say so.

A kind is the name of a type, a list of one kind, or a dict of kinds by name. Kinds stand for types, but they know more:
whether whole numbers would fit a double, and whether a string is a number.
"""

import json
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

Kind = Any
"""`str | pa.DataType | list[Kind] | dict[str, Kind]`; a list holds exactly one kind."""

NULL, STRING, BOOL, INTEGER, LONG, DOUBLE, NUMERAL = "null", "string", "bool", "int64", "long", "double", "number"
"""LONG: whole numbers, of which some are no doubles. NUMERAL: numbers that no type holds, kept as they are spelled."""

LARGEST_IN_DOUBLE = 2**53
"""Every whole number up to this one is a double."""

MOST_DIGITS = 767
"""No double needs more to be written out in full."""

MARK = b"nerx.numbers"
"""Field metadata: `as written` for NUMERAL, and `long` for LONG until all files are read."""
_MARKS = {NUMERAL: b"as written", LONG: b"long"}

_TYPES = {
    NULL: pa.null(),
    STRING: pa.string(),
    BOOL: pa.bool_(),
    INTEGER: pa.int64(),
    LONG: pa.int64(),
    DOUBLE: pa.float64(),
    NUMERAL: pa.string(),
}
_NAMES = {pa.null(): NULL, pa.string(): STRING, pa.bool_(): BOOL, pa.int64(): INTEGER, pa.float64(): DOUBLE}
_NUMBERS = (INTEGER, LONG, DOUBLE, NUMERAL)

_DOUBTFUL = re.compile(rb"[0-9.]{16,}(?:[eE][+-]?[0-9]+)?"), re.compile(rb"[0-9.]+[eE][+-]?[0-9]{3,}")
"""All numbers that may not be doubles, and others: 16 digits or more, an exponent of three digits or more."""


class Numeral(str):
    """A number as the file spells it."""

    __slots__ = ()


def load(line: bytes) -> dict[str, Any]:
    """The object of one line, with each number as a Numeral. Raises ValueError for anything else."""
    try:
        value = json.loads(
            line, parse_int=Numeral, parse_float=Numeral, parse_constant=Numeral, object_pairs_hook=_object
        )
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            raise ValueError("more than one JSON value in the line; write one object a line") from error
        raise ValueError(f"not valid JSON ({error})") from error
    except RecursionError as error:
        raise ValueError("JSON that is nested too deeply to be read") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object; write one object a line")  # wrong data, not a wrong call
    return value


def count_no_doubles(data: bytes) -> int:
    """How many numbers in these lines are no doubles; what looks like one inside a string may be counted as well."""
    places = {match.span() for pattern in _DOUBTFUL for match in pattern.finditer(data)}
    return sum(data[start - 1] in b":[,- \t\r\n" and not _may_be_double(data[start:end]) for start, end in places)


def count_integers_no_doubles(array: pa.Array) -> int:
    """How many integers in an array that Arrow read, or anywhere inside it, are no doubles."""
    if pa.types.is_struct(array.type):
        return sum(count_integers_no_doubles(array.field(index)) for index in range(array.type.num_fields))
    if pa.types.is_list(array.type):
        return count_integers_no_doubles(array.values)
    if not pa.types.is_integer(array.type):
        return 0
    back = array.cast(pa.float64(), safe=False).cast(pa.int64(), safe=False)
    return int(pc.sum(pc.not_equal(array, back)).as_py() or 0)


def _may_be_double(number: bytes) -> bool:
    try:
        return is_double(number.decode())
    except ValueError:  # 1.2.3, which is inside a string
        return True


def is_double(number: str) -> bool:
    """Whether the nearest double, written with as many digits as `number` has, is the same number."""
    value = float(number)
    if repr(value) == number:
        return True
    digits = len(re.split("[eE]", number)[0].lstrip("-").replace(".", "").lstrip("0")) or 1
    return digits <= MOST_DIGITS and Decimal(f"{value:.{digits - 1}e}") == Decimal(number)


def kind_of(value: object) -> Kind:
    """The kind of one value that `load` gave."""
    if isinstance(value, Numeral):
        return _kind_of_number(value)
    if isinstance(value, dict):
        return {name: kind_of(member) for name, member in value.items()}
    if isinstance(value, list):
        return [merge_all(map(kind_of, value))]
    return NULL if value is None else BOOL if isinstance(value, bool) else STRING


def kind_in(array: pa.Array) -> Kind:
    """The kind of an array that Arrow read without a schema. It takes some strings for times; they are strings here."""
    if pa.types.is_struct(array.type):
        return {field.name: kind_in(array.field(index)) for index, field in enumerate(array.type)}
    if pa.types.is_list(array.type):
        return [kind_in(array.values)]
    if pa.types.is_integer(array.type):
        ends = pc.min_max(array).as_py().values()
        return LONG if any(abs(end or 0) > LARGEST_IN_DOUBLE for end in ends) else INTEGER
    return STRING if pa.types.is_timestamp(array.type) else _NAMES[array.type]


def merge_all(kinds: Iterable[Kind]) -> Kind:
    known: Kind = NULL
    for kind in kinds:
        known = merge(known, kind)
    return known


def merge(known: Kind, seen: Kind, path: str = "") -> Kind:
    """The kind that holds what both hold. Raises ValueError that names the column where there is none."""
    if known == seen or seen == NULL:
        return known
    if known == NULL:
        return seen
    if isinstance(known, dict) and isinstance(seen, dict):
        inner = f"{path}." if path else ""
        return known | {name: merge(known.get(name, NULL), kind, inner + name) for name, kind in seen.items()}
    if isinstance(known, list) and isinstance(seen, list):
        return [merge(known[0], seen[0], path)]
    if known in _NUMBERS and seen in _NUMBERS:
        return _merge_numbers({known, seen})
    raise ValueError(f"column {path!r} was {_called(known)} so far and is {_called(seen)} here")


def kinds_of(schema: pa.Schema) -> dict[str, Kind]:
    return {field.name: _kind_of_field(field) for field in schema}


def schema_of(kinds: dict[str, Kind]) -> pa.Schema:
    return pa.schema([_field(name, kind) for name, kind in kinds.items()])


def settled(schema: pa.Schema) -> pa.Schema:
    """`schema` once all files are known: without the marks that only help to merge, and with a type for every list.

    As a list of null, Arrow 26 reads `[null]` into an invalid array (apache/arrow#51305); as a list of strings it does
    not. Types that JSON does not have stay as they are.
    """
    fields = [_settled(kind) for kind in kinds_of(schema).values()]
    kept = [_field(field.name, kind, field.nullable) for field, kind in zip(schema, fields, strict=True)]
    return pa.schema(kept, metadata=schema.metadata)


def array_of(values: Sequence[object], field: pa.Field) -> pa.Array:
    """Values that `load` gave as an array of the type of `field`."""
    kind = _kind_of_field(field)
    return pa.array([_plain(value, kind) for value in values], field.type)


def holds_numerals(kind: Kind) -> bool:
    """Whether a field of this kind, or one inside it, keeps numbers as they are spelled."""
    if isinstance(kind, dict):
        return any(map(holds_numerals, kind.values()))
    return holds_numerals(kind[0]) if isinstance(kind, list) else kind == NUMERAL


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is given twice in one object")
    return record


def _kind_of_number(number: Numeral) -> Kind:
    if number.lstrip("-").isdigit():
        value = int(number[:21])  # of a longer one this is enough to know
        small = abs(value) <= LARGEST_IN_DOUBLE
        return INTEGER if small else LONG if -(2**63) <= value < 2**63 else NUMERAL
    return DOUBLE if number in ("NaN", "Infinity", "-Infinity") or is_double(number) else NUMERAL


def _merge_numbers(kinds: set[Kind]) -> Kind:
    if NUMERAL in kinds or kinds == {LONG, DOUBLE}:
        return NUMERAL
    return DOUBLE if DOUBLE in kinds else LONG


def _kind_of_field(field: pa.Field) -> Kind:
    kind = field.type
    if pa.types.is_struct(kind):
        return {inner.name: _kind_of_field(inner) for inner in kind}
    if pa.types.is_list(kind):
        return [_kind_of_field(kind.value_field)]
    mark = (field.metadata or {}).get(MARK)
    return next(
        (name for name, value in _MARKS.items() if value == mark and _TYPES[name] == kind), _NAMES.get(kind, kind)
    )


def _field(name: str, kind: Kind, nullable: bool = True) -> pa.Field:
    if isinstance(kind, dict):
        return pa.field(name, pa.struct([_field(inner, part) for inner, part in kind.items()]), nullable)
    if isinstance(kind, list):
        return pa.field(name, pa.list_(_field("item", kind[0])), nullable)
    if isinstance(kind, pa.DataType):
        return pa.field(name, kind, nullable)
    return pa.field(name, _TYPES[kind], nullable, {MARK: _MARKS[kind]} if kind in _MARKS else None)


def _settled(kind: Kind, in_list: bool = False) -> Kind:
    if isinstance(kind, dict):
        return {name: _settled(part) for name, part in kind.items()}
    if isinstance(kind, list):
        return [_settled(kind[0], in_list=True)]
    return STRING if kind == NULL and in_list else INTEGER if kind == LONG else kind


def _plain(value: Any, kind: Kind) -> Any:
    if value is None:
        return None
    if isinstance(kind, dict):
        return {name: _plain(value.get(name), part) for name, part in kind.items()}
    if isinstance(kind, list):
        return [_plain(member, kind[0]) for member in value]
    if kind in (INTEGER, LONG):
        return int(value)
    return float(value) if kind == DOUBLE else str(value) if kind == NUMERAL else value


def _called(kind: Kind) -> str:
    if isinstance(kind, dict | list):
        return "an object" if isinstance(kind, dict) else "a list"
    return INTEGER if kind == LONG else str(kind)
