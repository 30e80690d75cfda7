"""Parquet of other engines through the real command: no value, row or type changes, or the run says why it stops."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from commands import Nerx, Outcome

TEXT = "Ada went to Rome."
SPARK_ROW = b"org.apache.spark.sql.parquet.row.metadata"

Extract = Callable[..., Outcome]


@pytest.fixture
def extract(nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> Extract:
    """`nerx extract` from what it is given to out.parquet."""

    def run(*inputs: object) -> Outcome:
        return nerx("extract", *inputs, "--adapter", tiny_adapter, "--out", tmp_path / "out.parquet", "--overwrite")

    return run


def extracted(extract: Extract, folder: Path, *inputs: object) -> pa.Table:
    done = extract(*inputs)
    assert done.code == 0, done.err
    return pq.read_table(folder / "out.parquet")


def refused(extract: Extract, folder: Path, *inputs: object) -> str:
    done = extract(*inputs)
    assert done.code == 2, done.err
    assert len(done.errors) == 1
    assert not (folder / "out.parquet").exists()
    return done.errors[0]


def write(path: Path, table: pa.Table | None = None, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table if table is not None else pa.table({"text": [TEXT], **columns}), path)
    return path


def spark_field(name: str, kind: object, **more: object) -> dict[str, object]:
    return {"name": name, "type": kind, "nullable": True, "metadata": {}, **more}


def spark_table(table: pa.Table, *fields: dict[str, object], **keys: str) -> pa.Table:
    row = json.dumps({"type": "struct", "fields": fields})
    more = {f"org.apache.spark.{name}": value for name, value in keys.items()}
    return table.replace_schema_metadata({SPARK_ROW: row, "org.apache.spark.version": "4.0.0"} | more)


def spark_schema(table: pa.Table) -> list[dict[str, Any]]:
    fields: list[dict[str, Any]] = json.loads(table.schema.metadata[SPARK_ROW])["fields"]
    return fields


# What engines keep in the metadata


def test_spark_is_told_of_the_columns_that_nerx_adds(extract: Extract, tmp_path: Path) -> None:
    fields = [spark_field("text", "string", metadata={"comment": "body"}), spark_field("age", "interval day")]
    source = write(tmp_path / "in.parquet", spark_table(pa.table({"text": [TEXT], "age": [86_400]}), *fields))
    found = spark_schema(extracted(extract, tmp_path, source))
    assert found[:2] == fields  # an interval is an int64 in the file: only Spark's schema knows
    assert [field["name"] for field in found[2:]] == ["entities", "nerx_error"]
    inner = found[2]["type"]["elementType"]["fields"]
    assert [(field["name"], field["type"]) for field in inner] == [
        *(("start", "integer"), ("end", "integer")),
        *(("label", "string"), ("text", "string"), ("score", "float")),
    ]


def test_a_schema_of_another_library_that_would_hide_the_entities_is_dropped(extract: Extract, tmp_path: Path) -> None:
    keys = {"parquet.avro.schema": "{}", "iceberg.schema": "{}", "mine": "kept"}
    source = write(tmp_path / "in.parquet", pa.table({"text": [TEXT]}).replace_schema_metadata(keys))
    metadata = extracted(extract, tmp_path, source).schema.metadata
    assert metadata[b"mine"] == b"kept"
    assert not {b"parquet.avro.schema", b"iceberg.schema"} & set(metadata)


def test_files_of_two_calendars_are_refused(extract: Extract, tmp_path: Path) -> None:
    table = pa.table({"text": [TEXT], "day": pa.array([-200_000], pa.date32())})
    fields = spark_field("text", "string"), spark_field("day", "date")
    write(tmp_path / "in/a.parquet", spark_table(table, *fields))
    write(tmp_path / "in/b.parquet", spark_table(table, *fields, legacyDateTime=""))
    assert "another calendar" in refused(extract, tmp_path, tmp_path / "in")


def test_a_column_that_two_files_mean_differently_for_spark_is_refused(extract: Extract, tmp_path: Path) -> None:
    table = pa.table({"text": [TEXT], "n": [1]})
    write(tmp_path / "in/a.parquet", spark_table(table, spark_field("text", "string"), spark_field("n", "long")))
    other = spark_table(table, spark_field("text", "string"), spark_field("n", "interval day"))
    write(tmp_path / "in/b.parquet", other)
    assert "column 'n' is \"interval day\" for Spark" in refused(extract, tmp_path, tmp_path / "in")


def test_the_extent_of_one_geoparquet_file_is_not_told_of_all(extract: Extract, tmp_path: Path) -> None:
    for name, box in {"a": [0, 0, 1, 1], "b": [5, 5, 9, 9]}.items():
        geo = {"primary_column": "g", "columns": {"g": {"encoding": "WKB", "geometry_types": ["Point"], "bbox": box}}}
        table = pa.table({"text": [TEXT], "g": [b"\x01"]}).replace_schema_metadata({"geo": json.dumps(geo)})
        write(tmp_path / f"in/{name}.parquet", table)
    found = json.loads(extracted(extract, tmp_path, tmp_path / "in").schema.metadata[b"geo"])
    assert found["columns"]["g"] == {"encoding": "WKB", "geometry_types": []}


# INT96


def write_int96(path: Path, values: list[int], unit: str, **keys: str) -> Path:
    """As old engines do; pyarrow writes every time as INT96 then."""
    times = pa.array(values, pa.timestamp(unit))
    table = pa.table({"text": [TEXT] * len(values), "at": times, "all": pa.array([[time] for time in values])})
    table = table.set_column(2, "all", pa.ListArray.from_arrays(range(len(values) + 1), times))
    table = table.replace_schema_metadata({f"org.apache.spark.{name}": value for name, value in keys.items()})
    pq.write_table(table, path, use_deprecated_int96_timestamps=True)
    return path


def test_int96_of_any_century_is_kept_to_the_microsecond(extract: Extract, tmp_path: Path) -> None:
    micros = [253_402_300_799_000_000, -62_135_596_800_000_000, 1_704_164_645_678_901, 0, -1]
    source = write_int96(tmp_path / "in.parquet", micros, "us")
    out = extracted(extract, tmp_path, source)
    assert out.schema.field("at").type == pa.timestamp("us")
    assert out.column("at").cast(pa.int64()).to_pylist() == micros
    assert out.column("all").combine_chunks().flatten().cast(pa.int64()).to_pylist() == micros
    query = 'select "at", "all" from {!r}'
    assert (
        duckdb.sql(query.format(str(source))).fetchall()
        == duckdb.sql(query.format(str(tmp_path / "out.parquet"))).fetchall()
    )


def test_int96_of_nanoseconds_is_refused(extract: Extract, tmp_path: Path) -> None:
    error = refused(extract, tmp_path, write_int96(tmp_path / "in.parquet", [0, 1_000, 1_001], "ns"))
    assert "in.parquet: column 'at'" in error
    assert "nanoseconds" in error


def test_int96_that_an_old_spark_means_in_another_calendar_is_refused(extract: Extract, tmp_path: Path) -> None:
    old = write_int96(tmp_path / "old.parquet", [-62_135_596_800_000_000], "us", version="3.2.0", legacyINT96="")
    assert "before 1900" in refused(extract, tmp_path, old)
    new = write_int96(tmp_path / "new.parquet", [0], "us", version="3.2.0", legacyINT96="")
    assert extract(new).code == 0


# Types that Arrow does not know


def with_type(path: Path, converted: int, logical: int) -> Path:
    """A file whose column `kind` says another logical type in its footer than the string that it holds."""
    pq.write_table(pa.table({"text": [TEXT], "kind": ["x"]}), path, store_schema=False)
    as_string = b"kind%\x00L\x1c\x00\x00"
    data = path.read_bytes()
    assert as_string in data
    path.write_bytes(data.replace(as_string, bytes([*b"kind%", converted * 2, *b"L", logical * 16 + 12, 0, 0])))
    return path


@pytest.mark.parametrize(("kind", "converted", "logical"), [("Enum", 4, 4), ("BSON", 20, 13)])
def test_a_type_that_would_be_lost_is_refused(
    kind: str, converted: int, logical: int, extract: Extract, tmp_path: Path
) -> None:
    error = refused(extract, tmp_path, with_type(tmp_path / "in.parquet", converted, logical))
    assert f"column 'kind' has the Parquet type {kind}" in error


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("interval '1 month'", "Interval"),
        ("'12:00:00+02'::timetz", "Time(isAdjustedToUTC=true"),
        ("1::variant", "Variant"),
    ],
)
def test_a_type_of_duckdb_that_would_be_lost_is_refused(
    value: str, kind: str, extract: Extract, tmp_path: Path
) -> None:
    source = tmp_path / "in.parquet"
    duckdb.sql(f"copy (select 'Ada' as text, {value} as c) to '{source}' (format parquet)")
    error = refused(extract, tmp_path, source)
    assert "column 'c'" in error
    assert f"has the Parquet type {kind}" in error


# Hive folders


def write_lake(folder: Path) -> Path:
    for number, where in enumerate(["year=2024/country=NL", "year=2024/country=a%2Fb", f"year=2025/country={HIVE}"]):
        write(folder / where / "part-0.parquet", id=[number])
    return folder


HIVE = "__HIVE_DEFAULT_PARTITION__"


def test_partition_folders_become_columns(extract: Extract, tmp_path: Path) -> None:
    lake = write_lake(tmp_path / "lake")
    rows = extracted(extract, tmp_path, lake).select(["id", "year", "country"]).to_pylist()
    assert rows == [
        {"id": 0, "year": "2024", "country": "NL"},
        {"id": 1, "year": "2024", "country": "a/b"},
        {"id": 2, "year": "2025", "country": None},
    ]
    seen = duckdb.sql(f"from read_parquet('{lake}/*/*/*.parquet', hive_partitioning=1) order by id").fetchall()
    assert [(str(year), country) for *_, country, year in seen] == [(row["year"], row["country"]) for row in rows]


@pytest.mark.parametrize("named", ["lake/year=2024", "lake/*/country=NL", "lake/year=2024/country=NL/part-0.parquet"])
def test_partition_columns_are_there_wherever_reading_begins(named: str, extract: Extract, tmp_path: Path) -> None:
    write_lake(tmp_path / "lake")
    row = extracted(extract, tmp_path, tmp_path / named).select(["year", "country"]).to_pylist()[0]
    assert row == {"year": "2024", "country": "NL"}


def test_a_column_of_the_file_goes_before_its_folder(extract: Extract, tmp_path: Path) -> None:
    write(tmp_path / "lake/year=2024/a.parquet", year=pa.array([2024], pa.int32()))
    out = extracted(extract, tmp_path, tmp_path / "lake")
    assert out.schema.names == ["text", "year", "entities", "nerx_error"]
    assert out.column("year").to_pylist() == [2024]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "txt"])
def test_partition_folders_are_columns_of_every_format(suffix: str, extract: Extract, tmp_path: Path) -> None:
    lines = {"jsonl": '{"text": "Ada"}\n', "csv": "text\nAda\n", "txt": "Ada\n"}
    for month in ("01", "12"):
        (tmp_path / f"lake/month={month}").mkdir(parents=True)
        (tmp_path / f"lake/month={month}/a.{suffix}").write_text(lines[suffix])
    out = extracted(extract, tmp_path, tmp_path / "lake")
    assert out.select(["text", "month"]).to_pylist() == [{"text": "Ada", "month": month} for month in ("01", "12")]


def test_an_input_that_moves_to_another_partition_is_extracted_again(
    nerx: Nerx, tiny_adapter: Path, tmp_path: Path
) -> None:
    job = ["extract", tmp_path / "lake", "--adapter", tiny_adapter, "--out", tmp_path / "out", "--incremental"]
    source = write(tmp_path / "lake/year=2024/a.parquet")
    assert nerx(*job).code == 0
    (tmp_path / "lake/year=2025").mkdir()
    source.rename(tmp_path / "lake/year=2025/a.parquet")
    assert nerx(*job, "--prune").code == 0
    assert pq.read_table(tmp_path / "out").column("year").to_pylist() == ["2025"]


# Tables with a log


@pytest.mark.parametrize(
    ("mark", "kind"),
    [
        ("_delta_log/00000000000000000000.json", "Delta"),
        (".hoodie/hoodie.properties", "Hudi"),
        ("metadata/v1.metadata.json", "Iceberg"),
    ],
)
@pytest.mark.parametrize("named", ["lake", "lake/orders", "lake/orders/data", "lake/orders/data/*.parquet", "lake/*"])
def test_a_table_with_a_log_is_refused(mark: str, kind: str, named: str, extract: Extract, tmp_path: Path) -> None:
    write(tmp_path / "lake/orders/data/a.parquet")
    (tmp_path / "lake/orders" / mark).parent.mkdir()
    (tmp_path / "lake/orders" / mark).write_text("{}")
    error = refused(extract, tmp_path, tmp_path / named)
    assert f"lake/orders: a {kind} table, whose log says which rows" in error
    assert "Write the rows to Parquet first" in error


def test_a_plain_file_beside_a_table_is_read(extract: Extract, tmp_path: Path) -> None:
    write(tmp_path / "lake/plain/a.parquet")
    (tmp_path / "lake/orders/_delta_log").mkdir(parents=True)
    assert extract(tmp_path / "lake/plain").code == 0


# Files of mixed form


STRINGS = pa.array(["x", None], pa.string())

MIXED: dict[str, tuple[pa.Array, pa.Array, pa.DataType]] = {
    "strings": (STRINGS, STRINGS.cast(pa.large_string()), pa.string()),
    "a dictionary": (STRINGS.dictionary_encode(), STRINGS, pa.dictionary(pa.int32(), pa.string())),
    "a small dictionary": (
        STRINGS.dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string())),
        STRINGS,
        pa.string(),
    ),
    "a view": (STRINGS, STRINGS.cast(pa.string_view()), pa.string()),
    "integers": (pa.array([1, None], pa.int32()), pa.array([2**40, 3]), pa.int64()),
    "signs": (pa.array([2**32 - 1, 0], pa.uint32()), pa.array([-1, 3], pa.int32()), pa.int64()),
    "nulls first": (pa.nulls(2), pa.array([1, 2]), pa.int64()),
    "nulls later": (STRINGS, pa.nulls(2), pa.string()),
    "nulls of another type": (pa.nulls(2, pa.float64()), STRINGS, pa.string()),
    "only nulls": (pa.nulls(2), pa.nulls(2, pa.float64()), pa.float64()),
    "decimals": (pa.array([Decimal("1.50")] * 2), pa.array([Decimal("123456.75")] * 2), pa.decimal128(8, 2)),
    "times": (pa.array([1, 2], pa.timestamp("ms")), pa.array([1, 2], pa.timestamp("us")), pa.timestamp("us")),
    "structs": (pa.array([{"a": 1}] * 2, pa.struct([("a", pa.int8())])), pa.array([{"a": 300}, None]), None),
    "lists": (pa.array([[1], None], pa.list_(pa.int16())), pa.array([[2**40, None], []]), pa.list_(pa.int64())),
}


@pytest.mark.parametrize("case", MIXED)
@pytest.mark.parametrize("order", [1, -1])
def test_what_loses_nothing_is_cast_with_one_note(case: str, order: int, extract: Extract, tmp_path: Path) -> None:
    first, second, kind = MIXED[case]
    for name, values in zip("ab", (first, second)[::order], strict=True):
        write(tmp_path / f"in/{name}.parquet", pa.table({"text": [TEXT] * 2, "c": values}))
    done = extract(tmp_path / "in")
    assert done.code == 0, done.err
    out = pq.read_table(tmp_path / "out.parquet")
    values = [value for part in (first, second)[::order] for value in part.to_pylist()]
    assert out.column("c").to_pylist() == values
    if kind is not None and order == 1:
        assert out.schema.field("c").type == kind
    assert done.err.count("files differ in form") == 1
    assert "column 'c'" in done.err


def test_another_order_of_columns_is_no_matter(extract: Extract, tmp_path: Path) -> None:
    write(tmp_path / "in/a.parquet", pa.table({"text": [TEXT], "id": [1], "x": ["a"]}))
    write(tmp_path / "in/b.parquet", pa.table({"x": ["b"], "text": ["Emmy"], "id": [2]}))
    out = extracted(extract, tmp_path, tmp_path / "in").select(["text", "id", "x"])
    assert out.to_pylist() == [{"text": TEXT, "id": 1, "x": "a"}, {"text": "Emmy", "id": 2, "x": "b"}]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (pa.array([0.5]), "column 'c' is double, not int64"),
        (pa.array(["1"]), "column 'c' is string, not int64"),
        (pa.array([2**63], pa.uint64()), "column 'c' is uint64, not int64"),
    ],
)
def test_what_would_lose_is_refused(other: pa.Array, said: str, extract: Extract, tmp_path: Path) -> None:
    write(tmp_path / "in/a.parquet", c=[1])
    write(tmp_path / "in/b.parquet", c=other)
    assert said in refused(extract, tmp_path, tmp_path / "in")


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv", "txt"])
@pytest.mark.parametrize("name", ["a", "z"])
def test_a_file_of_no_bytes_among_others_holds_nobody_up(
    name: str, suffix: str, extract: Extract, tmp_path: Path
) -> None:
    write(tmp_path / "in/m.parquet")
    (tmp_path / f"in/{name}.{suffix}").write_bytes(b"")
    done = extract(tmp_path / "in")
    assert done.code == 0, done.err
    assert "1 of 2 files differ in form; nerx adapts them and changes no value: no rows" in done.err
    assert pq.read_table(tmp_path / "out.parquet").column("text").to_pylist() == [TEXT]


def test_a_file_of_no_rows_has_no_say_on_columns(extract: Extract, tmp_path: Path) -> None:
    write(tmp_path / "in/a.parquet", pa.table({"other": pa.array([], pa.int8())}))
    write(tmp_path / "in/b.parquet")
    assert extracted(extract, tmp_path, tmp_path / "in").schema.names == ["text", "entities", "nerx_error"]


def test_nothing_but_files_of_no_bytes_is_refused(extract: Extract, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.parquet", "b.jsonl"):
        (tmp_path / "in" / name).write_bytes(b"")
    assert "is empty, as are all 2 files" in refused(extract, tmp_path, tmp_path / "in")


def test_a_nightly_job_goes_on_after_odd_files(nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    job = ["extract", tmp_path / "in", "--adapter", tiny_adapter, "--out", tmp_path / "out", "--incremental"]
    nights = [
        pa.table({"text": [TEXT], "id": [1], "x": ["a"]}),
        b"",
        pa.table({"x": pa.array(["b"], pa.large_string()), "id": pa.array([2], pa.int32()), "text": ["Emmy"]}),
        pa.table({"text": ["Oslo"], "id": [3], "x": pa.nulls(1)}),
    ]
    for number, night in enumerate(nights):
        if isinstance(night, bytes):
            (tmp_path / f"in/{number}.parquet").write_bytes(night)
        else:
            write(tmp_path / f"in/{number}.parquet", night)
        done = nerx(*job)
        assert done.code == 0, done.err
    rows = duckdb.sql(f"select text, id, x from '{tmp_path}/out/*.parquet' order by id").fetchall()
    assert rows == [(TEXT, 1, "a"), ("Emmy", 2, "b"), ("Oslo", 3, None)]
    assert nerx(*job, "--noop-code", 9).code == 9


# Names


@pytest.mark.parametrize("name", ["Entities", "ENTITIES", "Nerx_Error", "entities"])
def test_a_column_that_engines_take_for_one_of_nerx_is_refused(name: str, extract: Extract, tmp_path: Path) -> None:
    error = refused(extract, tmp_path, write(tmp_path / "in.parquet", **{name: [1]}))
    assert f"has a column {name!r} already" in error
    assert "rename the column" in error


# Other tools read back what they wrote


def test_pandas_finds_its_index_and_its_categories(extract: Extract, tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"text": ["Ada", "Emmy"], "kind": pd.Categorical(["b", "a"]), "at": pd.to_datetime(["2024-01-01"] * 2)},
        index=pd.Index([7, 9], name="key"),
    )
    frame.to_parquet(tmp_path / "in.parquet")
    assert extract(tmp_path / "in.parquet").code == 0
    found = pd.read_parquet(tmp_path / "out.parquet")
    pd.testing.assert_frame_equal(found[list(frame.columns)], pd.read_parquet(tmp_path / "in.parquet"))


def test_polars_finds_its_enums_and_durations(extract: Extract, tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"text": ["Ada", "Emmy"], "e": ["a", "b"], "d": [1, 2], "t": [3, 4], "b": [b"\xff", None]},
        schema_overrides={"e": pl.Enum(["b", "a"]), "d": pl.Duration("us"), "t": pl.Time},
    )
    frame.write_parquet(tmp_path / "in.parquet")
    assert extract(tmp_path / "in.parquet").code == 0
    found = pl.read_parquet(tmp_path / "out.parquet").select(frame.columns)
    assert found.equals(pl.read_parquet(tmp_path / "in.parquet"))
    assert found.schema == pl.read_parquet(tmp_path / "in.parquet").schema


def test_the_entities_are_those_of_the_same_texts_elsewhere(extract: Extract, tmp_path: Path) -> None:
    """Casting and partitions leave the text alone."""
    write(tmp_path / "plain/a.parquet")
    write(tmp_path / "lake/year=1/a.parquet", pa.table({"text": pa.array([TEXT], pa.large_string())}))
    write(tmp_path / "lake/year=2/a.parquet")
    [[plain]] = [extracted(extract, tmp_path, tmp_path / "plain").column("entities").to_pylist()]
    assert extracted(extract, tmp_path, tmp_path / "lake").column("entities").to_pylist() == [plain, plain]
    assert pc.all(pc.is_valid(pq.read_table(tmp_path / "out.parquet").column("entities"))).as_py()
