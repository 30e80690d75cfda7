"""Random tables of every type that DuckDB, polars and pandas write: each reads back from the output what it wrote."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from commands import Nerx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FEW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
DAYS = st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 31))
MOMENTS = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1))
TIMES = st.times()


def integers(bits: int, *, signed: bool = True) -> st.SearchStrategy[int]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.integers(low, high)


def decimals(digits: int, scale: int) -> st.SearchStrategy[Decimal]:
    return st.integers(-(10**digits) + 1, 10**digits - 1).map(lambda number: Decimal(number).scaleb(-scale))


def columns(kinds: dict[Any, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[Any, list[Any]]]:
    """Some of `kinds`, with five values of each, nulls among them."""
    return st.lists(st.sampled_from(list(kinds)), min_size=1, max_size=6, unique=True).flatmap(
        lambda names: st.fixed_dictionaries(
            {name: st.lists(st.none() | kinds[name], min_size=5, max_size=5) for name in names}
        )
    )


@pytest.fixture
def through(nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> Callable[[], Path]:
    """Extracts from in.parquet, whose column `text` has a text; returns the output."""

    def run() -> Path:
        out = tmp_path / "out.parquet"
        done = nerx("extract", tmp_path / "in.parquet", "--adapter", tiny_adapter, "--out", out, "--overwrite")
        assert done.code == 0, done.err
        return out

    return run


DUCKDB = {
    "boolean": st.booleans(),
    **{f"{name}int": integers(bits) for name, bits in {"tiny": 8, "small": 16, "": 32, "big": 64}.items()},
    **{f"u{name}int": integers(bits, signed=False) for name, bits in {"tiny": 8, "small": 16, "big": 64}.items()},
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "decimal(4,1)": decimals(4, 1),
    "decimal(18,3)": decimals(18, 3),
    "decimal(38,10)": decimals(37, 10),
    "varchar": ANY_TEXT,
    "blob": st.binary(max_size=9),
    "date": DAYS,
    "time": TIMES,
    "timestamp": st.datetimes(),
    "timestamp_s": st.datetimes().map(lambda moment: moment.replace(microsecond=0)),
    "timestamp_ms": st.datetimes().map(lambda moment: moment.replace(microsecond=0)),
    "timestamp_ns": MOMENTS,
    "timestamptz": MOMENTS.map(lambda moment: moment.replace(tzinfo=dt.UTC)),
    "uuid": st.uuids(),
    "json": st.sampled_from(['{"a": 1}', "[1, 2]", '"x"', "12345678901234567890"]),
    "enum('b', 'a')": st.sampled_from("ab"),
    "integer[]": st.lists(st.none() | integers(32), max_size=3),
    "integer[2]": st.lists(integers(32), min_size=2, max_size=2),
    "struct(a varchar, b struct(c bigint))": st.fixed_dictionaries(
        {"a": ANY_TEXT, "b": st.fixed_dictionaries({"c": st.none() | integers(64)})}
    ),
    "bit": st.text("01", min_size=1, max_size=9),
}


@FEW
@given(data=columns(DUCKDB))
def test_duckdb(data: dict[str, list[Any]], through: Callable[[], Path], tmp_path: Path) -> None:
    with duckdb.connect() as base:
        base.execute("set timezone = 'UTC'")
        named = ", ".join(f"c{number} {kind}" for number, kind in enumerate(data))
        base.execute(f"create table t (text varchar, {named})")
        for row in zip(*data.values(), strict=True):
            base.execute(f"insert into t values ('Ada went.'{', ?' * len(row)})", row)
        base.execute(f"copy t to '{tmp_path}/in.parquet' (format parquet)")
        written = base.execute(f"from '{tmp_path}/in.parquet'")
        kinds, rows = [(name, str(kind)) for name, kind, *_ in written.description], written.fetchall()
        out = through()
        read = base.execute(f"select * exclude (entities, nerx_error) from '{out}'")
        assert [(name, str(kind)) for name, kind, *_ in read.description] == kinds
        assert repr(read.fetchall()) == repr(rows)


POLARS: dict[Any, st.SearchStrategy[Any]] = {
    pl.Boolean(): st.booleans(),
    pl.Int8(): integers(8),
    pl.Int16(): integers(16),
    pl.Int32(): integers(32),
    pl.Int64(): integers(64),
    pl.UInt8(): integers(8, signed=False),
    pl.UInt32(): integers(32, signed=False),
    pl.UInt64(): integers(64, signed=False),
    pl.Float32(): st.floats(width=32),
    pl.Float64(): st.floats(),
    pl.Decimal(38, 6): decimals(37, 6),
    pl.String(): ANY_TEXT,
    pl.Binary(): st.binary(max_size=9),
    pl.Date(): DAYS,
    pl.Time(): TIMES,
    pl.Datetime("ms"): st.datetimes().map(lambda moment: moment.replace(microsecond=0)),
    pl.Datetime("us"): st.datetimes(),
    pl.Datetime("ns"): MOMENTS,
    pl.Datetime("us", "Europe/Oslo"): MOMENTS.map(lambda moment: moment.replace(tzinfo=dt.UTC)),
    pl.Duration("us"): st.timedeltas(dt.timedelta(-999), dt.timedelta(999)),
    pl.Categorical(): ANY_TEXT,
    pl.Enum(["b", "a"]): st.sampled_from("ab"),
    pl.Null(): st.none(),
    pl.List(pl.Int64()): st.lists(st.none() | integers(64), max_size=3),
    pl.Array(pl.Int16(), 2): st.lists(integers(16), min_size=2, max_size=2),
    pl.Struct({"a": pl.String(), "b": pl.List(pl.UInt8())}): st.fixed_dictionaries(
        {"a": ANY_TEXT, "b": st.lists(integers(8, signed=False), max_size=2)}
    ),
}


@FEW
@given(data=columns(POLARS))
def test_polars(data: dict[Any, list[Any]], through: Callable[[], Path], tmp_path: Path) -> None:
    series = [pl.Series(f"c{number}", values, kind) for number, (kind, values) in enumerate(data.items())]
    pl.DataFrame([pl.Series("text", ["Ada went."] * 5), *series]).write_parquet(tmp_path / "in.parquet")
    written = pl.read_parquet(tmp_path / "in.parquet")
    read = pl.read_parquet(through()).drop("entities", "nerx_error")
    assert read.schema == written.schema
    assert read.equals(written, null_equal=True)


PANDAS: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "boolean": st.booleans(),
    **{f"int{bits}": integers(bits) for bits in (8, 16, 32, 64)},
    **{f"Int{bits}": integers(bits) for bits in (8, 64)},
    "uint64": integers(64, signed=False),
    "float32": st.floats(width=32),
    "float64": st.floats(),
    "str": ANY_TEXT,
    "object": st.binary(max_size=5),
    "category": ANY_TEXT,
    "datetime64[ns]": MOMENTS,
    "datetime64[ms]": MOMENTS.map(lambda moment: moment.replace(microsecond=0)),
    "datetime64[us, UTC]": MOMENTS.map(lambda moment: moment.replace(tzinfo=dt.UTC)),
    "timedelta64[ns]": st.timedeltas(dt.timedelta(-999), dt.timedelta(999)),
    "period[D]": MOMENTS.map(lambda moment: pd.Period(moment, "D")),
}
NEVER_NULL = {"bool", "int8", "int16", "int32", "int64", "uint64"}


@FEW
@given(data=columns(PANDAS), index=st.none() | st.lists(ANY_TEXT, min_size=5, max_size=5))
def test_pandas(
    data: dict[str, list[Any]], index: list[str] | None, through: Callable[[], Path], tmp_path: Path
) -> None:
    made = {}
    for kind, values in data.items():
        full = [value for value in values if value is not None] or [np.nan]
        if kind in NEVER_NULL:
            values = [value if value is not None else 0 for value in values]
        elif kind == "period[D]":
            values = [value if value is not None else pd.NaT for value in values]
        made[f"c {kind}"] = pd.Series(values, dtype=kind if full else "object")
    frame = pd.DataFrame({"text": ["Ada went."] * 5, **made})
    if index is not None:
        frame.index = pd.Index(index, name="key")
    frame.to_parquet(tmp_path / "in.parquet")
    written = pd.read_parquet(tmp_path / "in.parquet")
    read = pd.read_parquet(through()).drop(columns=["entities", "nerx_error"])
    pd.testing.assert_frame_equal(read, written, check_exact=True)
