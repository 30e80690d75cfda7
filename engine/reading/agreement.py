"""How files of one corpus agree on columns: what loses nothing is brought to one form, what would lose is refused.

The first file decides on the order. A column that holds only nulls in one file takes the type of the others.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from ..foreign import calendar, merged
from .source import Source

_INTEGERS = {
    (is_signed, width): kind
    for is_signed, kinds in (
        (True, (pa.int8(), pa.int16(), pa.int32(), pa.int64())),
        (False, (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())),
    )
    for width, kind in zip((8, 16, 32, 64), kinds, strict=True)
}
_CLOCKS = ("s", "ms", "us", "ns")


def agree(known: pa.Schema, seen: pa.Schema) -> pa.Schema:
    """The columns that hold the rows of both, in the order of `known`.

    Raises ValueError with the first difference that cannot be mended without a loss.
    """
    missing = [name for name in known.names if name not in seen.names]
    extra = [name for name in seen.names if name not in known.names]
    if missing or extra:
        parts = [f"lacks {', '.join(map(repr, missing))}"] * bool(missing)
        parts += [f"has {', '.join(map(repr, extra))} besides"] * bool(extra)
        raise ValueError(" and ".join(parts))
    if len(known) != len(seen) or (known.names != seen.names and len(set(known.names)) < len(known)):
        raise ValueError(f"has other columns, some of the same name ({', '.join(seen.names)})")
    is_paired = known.names == seen.names
    pairs = [(ours, seen.field(place if is_paired else ours.name)) for place, ours in enumerate(known)]
    fields = [_agreed(ours, theirs) for ours, theirs in pairs]
    if calendar(known.metadata) != calendar(seen.metadata) and any(_is_dated(field.type) for field in fields):
        raise ValueError(
            "holds dates that Spark reads by another calendar (the key 'org.apache.spark.legacyDateTime'); "
            "write all files with one version of Spark"
        )
    retyped = {
        field.name
        for field, pair in zip(fields, pairs, strict=True)
        if any(field.type != one.type and not pa.types.is_null(one.type) for one in pair)
    }
    return pa.schema(fields, metadata=merged(known.metadata, seen.metadata, retyped=retyped) or None)


def declared(schema: pa.Schema, sources: Sequence[Source]) -> pa.Schema:
    """`schema` with the types that files declare for columns in which no file has a value."""
    fields = []
    for field in schema:
        kinds = [source.schema.field(field.name).type for source in sources if field.name in source.schema.names]
        blank = pa.types.is_null(field.type) and schema.names.count(field.name) == 1
        fields.append(field.with_type(_any(kinds)) if blank and kinds else field)
    return pa.schema(fields, metadata=schema.metadata)


def with_rows(sources: Sequence[Source]) -> Sequence[Source]:
    """Those of `sources` that have a say on columns: all that have rows, or else all that name a column."""
    return [source for source in sources if source.cuts] or [source for source in sources if len(source.schema)]


def fitted(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The columns of `schema` out of `batch`, in its order and with its types. Raises ArrowException for a loss."""
    is_paired = batch.schema.names == schema.names  # two columns may have one name
    columns = batch.columns if is_paired else [batch.column(name) for name in schema.names]
    arrays = [_cast(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def note(schema: pa.Schema, sources: Sequence[Source]) -> str | None:
    """What to say of files that were brought to the form of the others; None when all had it."""
    changes: dict[str, None] = {}
    count = 0
    for source in sources:
        found = list(_changes(source, schema))
        changes |= dict.fromkeys(found)
        count += bool(found)
    if not changes:
        return None
    shown, rest = list(changes)[:8], len(changes) - 8
    listed = "; ".join(shown) + (f"; and {rest} more" if rest > 0 else "")
    return f"{count:,} of {len(sources):,} files differ in form; nerx adapts them and changes no value: {listed}"


def _changes(source: Source, schema: pa.Schema) -> Iterator[str]:
    if not source.cuts:
        yield "no rows"
        return
    if [name for name in source.schema.names if name in schema.names] != schema.names:
        if set(source.schema.names) == set(schema.names):
            yield "another order of the columns"
        return  # fields that JSON objects lack are no difference in form
    for ours, field in zip(source.schema, schema, strict=True):
        if ours.type != field.type and source.kind == "parquet":
            yield f"column {ours.name!r} {ours.type} -> {field.type}"


def _agreed(ours: pa.Field, theirs: pa.Field) -> pa.Field:
    kind = widest(ours.type, theirs.type)
    if kind is None:
        raise ValueError(f"column {ours.name!r} is {theirs.type}, not {ours.type}")
    return ours.with_type(kind).with_nullable(ours.nullable or theirs.nullable)


def widest(ours: pa.DataType, theirs: pa.DataType) -> pa.DataType | None:
    """The narrowest type that holds every value of both as it is; None when there is none."""
    if ours == theirs or pa.types.is_null(theirs):
        return ours
    if pa.types.is_null(ours):
        return theirs
    for rule in (_same_values, _wider_integer, _wider_decimal, _finer_time, _wider_nested):
        if kind := rule(ours, theirs):
            return kind
    return None


def _any(kinds: list[pa.DataType]) -> pa.DataType:
    """A type for a column without a value."""
    kind = kinds[0]
    for other in kinds[1:]:
        kind = widest(kind, other) or kind
    return kind


def _same_values(ours: pa.DataType, theirs: pa.DataType) -> pa.DataType | None:
    """Types that differ only in how they store the same strings or bytes: the first file's, if it has room."""
    for kinds in (
        (pa.string(), pa.large_string(), pa.string_view()),
        (pa.binary(), pa.large_binary(), pa.binary_view()),
    ):
        if _plain(ours) in kinds and _plain(theirs) in kinds:
            return _plain(ours) if pa.types.is_dictionary(ours) and ours.index_type.bit_width < 32 else ours
    return None


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _wider_integer(ours: pa.DataType, theirs: pa.DataType) -> pa.DataType | None:
    if not (pa.types.is_integer(ours) and pa.types.is_integer(theirs)):
        return None
    signs = pa.types.is_signed_integer(ours), pa.types.is_signed_integer(theirs)
    width = max(ours.bit_width, theirs.bit_width)
    if signs[0] == signs[1]:
        return _INTEGERS[signs[0], width]
    unsigned, signed = (theirs, ours) if signs[0] else (ours, theirs)
    return _INTEGERS.get((True, max(signed.bit_width, 2 * unsigned.bit_width)))


def _wider_decimal(ours: pa.DataType, theirs: pa.DataType) -> pa.DataType | None:
    if not (pa.types.is_decimal(ours) and pa.types.is_decimal(theirs)) or ours.scale != theirs.scale:
        return None
    return max(ours, theirs, key=lambda kind: kind.precision)


def _finer_time(ours: pa.DataType, theirs: pa.DataType) -> pa.DataType | None:
    """Seconds to microseconds are one scale. Nanoseconds reach from 1677 to 2262 only, so they stay apart."""
    if pa.types.is_time(ours) and pa.types.is_time(theirs):
        return max(ours, theirs, key=lambda kind: _CLOCKS.index(kind.unit))
    if not (pa.types.is_timestamp(ours) and pa.types.is_timestamp(theirs)):
        return None
    if ours.tz != theirs.tz or "ns" in (ours.unit, theirs.unit):
        return None
    return max(ours, theirs, key=lambda kind: _CLOCKS.index(kind.unit))


def _wider_nested(ours: pa.DataType, theirs: pa.DataType) -> pa.DataType | None:
    try:
        if pa.types.is_struct(ours) and pa.types.is_struct(theirs):
            if [field.name for field in ours] != [field.name for field in theirs]:
                return None
            return pa.struct([_agreed(*pair) for pair in zip(ours, theirs, strict=True)])
        for is_kind, make in ((pa.types.is_list, pa.list_), (pa.types.is_large_list, pa.large_list)):
            if is_kind(ours) and _is_listed(theirs):
                return make(_agreed(ours.value_field, theirs.value_field))
    except ValueError:
        return None
    return None


def _is_listed(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_dated(kind: pa.DataType) -> bool:
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return True
    return any(_is_dated(kind.field(place).type) for place in range(kind.num_fields))


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if column.type == kind:
        return column
    if column.null_count == len(column):
        return pa.nulls(len(column), kind)
    return column.cast(kind)
