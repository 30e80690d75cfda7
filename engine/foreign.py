"""What other engines keep of themselves in the metadata of a Parquet file, and what becomes of it in an output.

An engine that trusts such a key more than the file's own columns would not see what nerx adds, or would read other
values than those of the input. Most keys are only passed on. Metadata are mappings of bytes, as pyarrow gives them.
"""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa

SPARK_ROW = b"org.apache.spark.sql.parquet.row.metadata"
"""Spark's own schema as JSON. Spark reads the columns that stand here, with these types, and no others."""

STALE = {
    *(b"avro.schema", b"parquet.avro.schema", b"iceberg.schema"),
    *(b"parquet.proto.class", b"parquet.proto.descriptor"),
    *(b"parquet.thrift.descriptor", b"thrift.class", b"thrift.descriptor"),
}
"""Schemas of other libraries that hide the columns of nerx. Without them each library reads the file's own schema."""

FIRST = {b"pandas", b"org.apache.spark.version", b"org.apache.spark.timeZone"}
"""Keys of which the first file's value serves all files. pandas passes over an index that does not fit the rows."""

_SPARK_TYPES = (
    {"bool": "boolean", "int8": "byte", "int16": "short", "int32": "integer", "int64": "long", "uint8": "short"}
    | {"uint16": "integer", "uint32": "long", "uint64": "decimal(20,0)"}
    | {"float": "float", "double": "double", "date32[day]": "date"}
    | dict.fromkeys(["string", "large_string", "string_view"], "string")
    | dict.fromkeys(["binary", "large_binary", "binary_view"], "binary")
)
"""How Spark calls the type that it reads where Arrow wrote one of these."""

_LEGACY = b"org.apache.spark.legacyDateTime"
_LEGACY_INT96 = b"org.apache.spark.legacyINT96"

Metadata = Mapping[bytes, bytes] | None


def extended(metadata: Metadata, columns: pa.Schema) -> dict[bytes, bytes]:
    """`metadata` for a file that has `columns`: with all of them in Spark's schema, without keys that are STALE.

    Where a column has no type that Spark knows, Spark's schema is left out, and Spark reads the file's own.
    """
    kept = {key: value for key, value in (metadata or {}).items() if key not in STALE}
    if SPARK_ROW not in kept:
        return kept
    known = spark_fields(kept)
    fields = [known.get(field.name) or _spark_field(field) for field in columns]
    del kept[SPARK_ROW]
    if known and all(fields):
        kept[SPARK_ROW] = _as_json({"type": "struct", "fields": fields})
    return kept


def merged(ours: Metadata, theirs: Metadata, *, retyped: Collection[str]) -> dict[bytes, bytes]:
    """What holds for the rows of two files: keys of equal value, and of both what Spark and GeoParquet need.

    `retyped` are columns of which Spark's type is no longer true. Raises ValueError where the two cannot be combined.
    """
    ours, theirs = dict(ours or {}), dict(theirs or {})
    kept = {key: value for key, value in ours.items() if key in FIRST or theirs.get(key) == value}
    if b"geo" in ours and b"geo" in theirs:
        mine, other = _without_extent(ours[b"geo"]), _without_extent(theirs[b"geo"])
        if mine != other:
            raise ValueError("describes its geometry columns (the key 'geo') in another way")
        kept[b"geo"] = ours[b"geo"] if ours[b"geo"] == theirs[b"geo"] else mine
    kept.pop(SPARK_ROW, None)
    if fields := _united(spark_fields(ours), spark_fields(theirs), retyped):
        kept[SPARK_ROW] = _as_json({"type": "struct", "fields": list(fields.values())})
    return kept


def spark_fields(metadata: Metadata) -> dict[str, dict[str, Any]]:
    """Spark's description of each column, by name; none where there is none, or none that can be read."""
    try:
        fields = json.loads((metadata or {})[SPARK_ROW])["fields"]
        return {field["name"]: field for field in fields if "type" in field}
    except (KeyError, TypeError, ValueError):
        return {}


def calendar(metadata: Metadata) -> str:
    """By which calendar Spark reads days before 1582; files of two calendars do not mix."""
    known = metadata or {}
    is_old = _LEGACY in known or _is_before(known, 3, 0)
    return f"the Julian calendar{known.get(b'org.apache.spark.timeZone', b'').decode()}" if is_old else "Gregorian"


def has_legacy_int96(metadata: Metadata) -> bool:
    """Whether Spark moves INT96 times before 1900 when it reads this file."""
    known = metadata or {}
    return _LEGACY_INT96 in known or _is_before(known, 3, 1)


def _is_before(metadata: Mapping[bytes, bytes], *version: int) -> bool:
    written = re.match(rb"(\d+)\.(\d+)", metadata.get(b"org.apache.spark.version", b""))
    return written is not None and (int(written[1]), int(written[2])) < version


def _united(
    ours: dict[str, dict[str, Any]], theirs: dict[str, dict[str, Any]], retyped: Collection[str]
) -> dict[str, dict[str, Any]]:
    for name in ours.keys() & theirs.keys() - set(retyped):
        mine, other = _meaning(ours[name]), _meaning(theirs[name])
        if mine != other:
            kinds = [
                json.dumps(one["type"]) + f" {one['metadata']}" * bool(one.get("metadata")) for one in (other, mine)
            ]
            raise ValueError(f"column {name!r} is {kinds[0]} for Spark, not {kinds[1]}")
    return {name: field for name, field in {**theirs, **ours}.items() if name not in retyped}


def _meaning(field: Any) -> Any:
    """Spark's type of a column without what may differ between files: whether it has nulls, and its comment."""
    if isinstance(field, dict):
        passed = {"nullable", "containsNull", "valueContainsNull", "comment"}
        return {key: _meaning(value) for key, value in field.items() if key not in passed}
    return [_meaning(one) for one in field] if isinstance(field, list) else field


def _spark_field(field: pa.Field) -> dict[str, Any] | None:
    kind = _spark_type(field.type)
    return kind and {"name": field.name, "type": kind, "nullable": field.nullable, "metadata": {}}


def _spark_type(kind: pa.DataType) -> Any:
    """None for a type that has no equal in Spark."""
    if pa.types.is_dictionary(kind):
        return _spark_type(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        element = _spark_type(kind.value_type)
        return element and {"type": "array", "elementType": element, "containsNull": kind.value_field.nullable}
    if pa.types.is_struct(kind):
        fields = [_spark_field(field) for field in kind]
        return {"type": "struct", "fields": fields} if all(fields) else None
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})" if kind.precision <= 38 else None
    if pa.types.is_timestamp(kind):
        return None if kind.unit == "ns" else "timestamp" if kind.tz else "timestamp_ntz"
    return _SPARK_TYPES.get(str(kind))


def _without_extent(geo: bytes) -> bytes:
    """GeoParquet's key without what is true of one file only: the extent and the kinds of its geometries."""
    try:
        known = json.loads(geo)
        for column in known["columns"].values():
            column.pop("bbox", None)
            column["geometry_types"] = []
        return _as_json(known)
    except (AttributeError, KeyError, TypeError, ValueError):
        return geo


def _as_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
