"""Real Spark: what it wrote goes through nerx, and it reads the same rows and types, with the entities."""

import datetime as dt
import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from commands import Nerx

pyspark_sql = pytest.importorskip("pyspark.sql", reason="install the extra 'spark'")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java 17"),
]

COLUMNS = """
    id long, text string, seen timestamp, local timestamp_ntz, day date, price decimal(20,4), raw binary,
    list array<int>, map map<string,int>, inner struct<x:int,y:string>, small tinyint, flag boolean
"""
YEARS = [
    (dt.datetime(2024, 1, 2, 3, 4, 5, 678901), dt.date(2024, 1, 2)),
    (dt.datetime(9999, 12, 31, 23, 59, 59), dt.date(9999, 12, 31)),
    (dt.datetime(1, 1, 1, 0, 0, 1), dt.date(1, 1, 1)),
]


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    builder = pyspark_sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
    session = builder.config("spark.sql.session.timeZone", "America/New_York").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.mark.parametrize("times", ["INT96", "TIMESTAMP_MICROS", "TIMESTAMP_MILLIS"])
def test_spark_reads_the_rows_and_types_that_it_wrote(
    times: str, spark: Any, nerx: Nerx, tiny_adapter: Path, tmp_path: Path
) -> None:
    spark.conf.set("spark.sql.parquet.outputTimestampType", times)
    made = [
        (number, "Ada went to Rome.", moment, moment, day, Decimal("1.2345"), b"\0\xff", [1, None])
        for number, (moment, day) in enumerate(YEARS)
    ]
    frame = spark.createDataFrame(
        [(*row, {"a": None}, (1, "z"), 1, True) for row in made] + [(9, "Emmy", *[None] * 10)], COLUMNS
    )
    frame = frame.selectExpr("*", "interval '1' day as age", "interval '2' year as term")
    frame.coalesce(2).write.parquet(str(tmp_path / "in"))
    spark.conf.set("spark.sql.parquet.outputTimestampType", "INT96")
    for out in (tmp_path / "out.parquet", tmp_path / "out"):
        done = nerx("extract", tmp_path / "in", "--adapter", tiny_adapter, "--out", out)
        assert done.code == 0, done.err
        require_same(spark, tmp_path / "in", out)


def test_spark_reads_partitions_as_columns(spark: Any, nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    frame = spark.sql("select id, 'Ada went.' as text, concat('a/', id) as place from range(3)")
    frame.write.partitionBy("place").parquet(str(tmp_path / "in"))
    done = nerx("extract", tmp_path / "in", "--adapter", tiny_adapter, "--out", tmp_path / "out.parquet")
    assert done.code == 0, done.err
    require_same(spark, tmp_path / "in", tmp_path / "out.parquet")


def test_a_type_that_only_spark_knows_is_refused(spark: Any, nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    spark.sql("select 'Ada' as text, parse_json('{\"a\": 1}') as v").write.parquet(str(tmp_path / "in"))
    done = nerx("extract", tmp_path / "in", "--adapter", tiny_adapter, "--out", tmp_path / "out.parquet")
    assert done.code == 2
    assert "column 'v' has the Parquet type Variant" in done.errors[0]


def require_same(spark: Any, source: Path, out: Path) -> None:
    written, read = spark.read.parquet(str(source)), spark.read.parquet(str(out))
    assert read.dtypes[: len(written.dtypes)] == written.dtypes
    assert [name for name, _ in read.dtypes[len(written.dtypes) :]] == ["entities", "nerx_error"]
    assert rows_of(read.select(*written.columns)) == rows_of(written)
    entities = read.selectExpr("text", "explode(entities) as entity").selectExpr(
        "substring(text, entity.start + 1, entity.end - entity.start) = entity.text as same"
    )
    assert entities.count() > 0
    assert entities.where("not same").isEmpty()
    assert read.count() == written.count()


def rows_of(frame: Any) -> list[str]:
    """Every row as JSON, sorted: Spark compares no maps."""
    return sorted(row.row for row in frame.selectExpr("to_json(struct(*)) as row").collect())
