"""Every format, read in order, in shards, with all columns; and every wrong input with its message."""

import csv
import gzip
import json
import os
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nerx.engine.errors import CorpusError
from nerx.engine.reading import record
from nerx.engine.reading.corpus import Corpus, open_corpus
from nerx.engine.reading.dialect import Dialect
from nerx.engine.reading.source import SHARD_BYTES, group, split

TYPED = Dialect(infer_types=True)
HYPOTHESIS = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
JSON_RECORDS = st.fixed_dictionaries(
    {"text": TEXTS, "always": st.booleans()},
    optional={
        "whole": st.none() | st.integers(-(2**63), 2**63 - 1),
        "part": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "list": st.none() | st.lists(st.none() | TEXTS, max_size=3),
        "nest": st.fixed_dictionaries({"a": TEXTS}, optional={"b": st.lists(st.fixed_dictionaries({"c": TEXTS}))}),
    },
)


def rows(corpus: Corpus) -> list[dict]:
    return [row for shard in corpus.shards() for batch in corpus.batches(shard) for row in batch.to_pylist()]


def texts(corpus: Corpus) -> list[str | None]:
    return [text for shard in corpus.shards() for batch in corpus.batches(shard) for text in corpus.texts(batch)]


def write_parquet(path: Path, count: int = 10, row_group_size: int | None = None, first: int = 0) -> Path:
    numbers = range(first, first + count)
    table = pa.table({"id": pa.array(numbers, pa.int64()), "text": [f"Text {number}" for number in numbers]})
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


def write_lines(path: Path, *lines: object) -> Path:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


# Parquet


def test_parquet_comes_out_in_order_whatever_the_row_groups(tmp_path):
    for count, row_group_size in [(10, 3), (10, 100), (0, 5), (1000, 7), (999, 400)]:
        path = write_parquet(tmp_path / "a.parquet", count, row_group_size)
        corpus = open_corpus([path], shard_rows=50, batch_rows=16)
        assert [row["id"] for row in rows(corpus)] == list(range(count))
        assert corpus.rows == count
        assert all(shard.rows <= 50 for shard in corpus.shards())


def test_small_row_groups_are_joined_and_large_ones_cut_evenly(tmp_path):
    small = open_corpus([write_parquet(tmp_path / "small.parquet", 100, 10)], shard_rows=40)
    assert [shard.rows for shard in small.shards()] == [40, 40, 20]
    large = open_corpus([write_parquet(tmp_path / "large.parquet", 100, 100)], shard_rows=40)
    assert [shard.rows for shard in large.shards()] == [33, 33, 34]


def test_long_rows_make_small_shards():
    assert len(split(1000, 10 * SHARD_BYTES, 50_000)) == 10
    assert list(group([(1, SHARD_BYTES), (1, SHARD_BYTES), (1, 1)], 50_000)) == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv", "txt"])
def test_any_shard_is_read_alone_from_any_row(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    values = [f"text, {number}" for number in range(100)]
    if suffix == "parquet":
        pq.write_table(pa.table({"text": values}), path, row_group_size=30)
    elif suffix == "jsonl":
        write_lines(path, *({"text": value} for value in values))
    else:
        quote = '"' * (suffix == "csv")
        write_lines(path, *["text"] * (suffix == "csv"), *(f"{quote}{value}{quote}" for value in values))
    corpus = pickle.loads(pickle.dumps(open_corpus([path], shard_rows=20, batch_rows=6)))
    assert len(corpus.shards()) > 4
    first = 0
    for shard in corpus.shards():
        for skip in (0, 1, 7, shard.rows):
            part = type(shard)(shard.index, shard.source, shard.path, shard.cut, skip)
            found = [text for batch in corpus.batches(part) for text in corpus.texts(batch)]
            assert found == values[first + skip : first + shard.rows]
        first += shard.rows
    assert first == 100


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int8(), pa.string()),
        pa.dictionary(pa.int32(), pa.string()),
    ],
    ids=str,
)
def test_texts_of_every_string_type_are_read(tmp_path, kind):
    values = ["one", None, "", "one", "zwölf 👩‍👩‍👧"]
    column = pa.array(values, pa.string())
    column = column.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else column.cast(kind)
    pq.write_table(pa.table({"body": column, "n": range(5)}), tmp_path / "a.parquet")
    corpus = open_corpus([tmp_path / "a.parquet"])
    assert corpus.schema.field("body").type == kind
    assert corpus.text_column == "body"
    assert texts(corpus) == values


def test_a_parquet_text_of_broken_utf8_is_no_text_and_stops_nothing(tmp_path):
    data = pa.py_buffer(b"ok\xff\xfe")
    column = pa.StringArray.from_buffers(2, pa.array([0, 2, 4], pa.int32()).buffers()[1], data)
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    assert texts(open_corpus([tmp_path / "a.parquet"])) == ["ok", None]


# JSONL


@HYPOTHESIS
@given(st.lists(JSON_RECORDS, min_size=1, max_size=30))
def test_jsonl_keeps_texts_numbers_and_nested_values(tmp_path, records):
    """A field that an object lacks is null in it; nothing else may change."""
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in records), encoding="utf-8", newline="")
    corpus = open_corpus([path], shard_rows=4, batch_rows=2)
    assert texts(corpus) == [row["text"] for row in records]
    assert [without_nulls(row) for row in rows(corpus)] == [without_nulls(row) for row in records]


def without_nulls(value: object) -> object:
    """`value` without the null fields of its objects."""
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return value


def test_jsonl_types_are_those_of_all_lines_not_of_the_first(tmp_path):
    lines = [{"text": "a", "n": 1, "when": "2024-01-01T00:00:00", "list": []} for _ in range(3000)]
    path = write_lines(tmp_path / "a.jsonl", *lines, {"text": None, "n": 1.5, "when": "noon", "list": [{"x": "y"}]})
    corpus = open_corpus([path], batch_rows=100)
    read = rows(corpus)
    assert read[0] == {"text": "a", "n": 1.0, "when": "2024-01-01T00:00:00", "list": []}
    assert read[-1] == {"text": None, "n": 1.5, "when": "noon", "list": [{"x": "y"}]}


def test_lists_of_nulls_are_kept(tmp_path):
    lines = [{"text": "a", "list": [None, None], "deep": [{"of": [[None]]}]}, {"text": "b", "list": [], "deep": []}]
    assert rows(open_corpus([write_lines(tmp_path / "a.jsonl", *lines)])) == lines


def test_jsonl_files_may_lack_fields_of_each_other(tmp_path):
    first = write_lines(tmp_path / "a.jsonl", {"text": "a"})
    second = write_lines(tmp_path / "b.jsonl", {"n": 2, "text": "b"})
    assert rows(open_corpus([first, second])) == [{"text": "a", "n": None}, {"text": "b", "n": 2}]


def test_line_files_may_be_compressed_have_blank_lines_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'\xef\xbb\xbf{"text": "a"}\r\n\r\n{"text": "b"}'))
    assert texts(open_corpus([path], shard_rows=1)) == ["a", "b"]


def test_a_line_longer_than_a_block_is_one_row(tmp_path):
    long = "x" * (record.BLOCK_BYTES + 1)
    for path in (
        write_lines(tmp_path / "a.jsonl", {"text": "a"}, {"text": long}, {"text": "b"}),
        write_lines(tmp_path / "a.csv", "text", "a", long, "b"),
        write_lines(tmp_path / "a.txt", "a", long, "b"),
    ):
        assert texts(open_corpus([path])) == ["a", long, "b"]


# CSV


@HYPOTHESIS
@given(
    st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=20),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n"]),
)
def test_csv_keeps_every_field_as_it_is_written(tmp_path, records, delimiter, end):
    path = tmp_path / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator=end)
        writer.writerow(["text", "other"])
        writer.writerows([(text, "x" + other) for text, other in records])
    corpus = open_corpus([path], shard_rows=3, batch_rows=2)
    assert [tuple(row.values()) for row in rows(corpus)] == [(text, "x" + other) for text, other in records]


@pytest.mark.parametrize(
    ("fields", "kind", "values"),
    [
        (["1", "-20", ""], pa.int64(), [1, -20, None]),
        (["1.0", "2.5", ""], pa.float64(), [1.0, 2.5, None]),
        (["1", "2.5", ""], pa.string(), ["1", "2.5", ""]),
        (["1.10", "2.5"], pa.string(), ["1.10", "2.5"]),
        (["true", "", "False"], pa.bool_(), [True, None, False]),
        (["1", "007", "3"], pa.string(), ["1", "007", "3"]),
        (["1", "0x1F"], pa.string(), ["1", "0x1F"]),
        (["1.5", "12345678901234567890"], pa.string(), ["1.5", "12345678901234567890"]),
        (["1", "NA", ""], pa.string(), ["1", "NA", ""]),
        (["2024-01-01", "2024-01-02"], pa.string(), ["2024-01-01", "2024-01-02"]),
        (["true", "1"], pa.string(), ["true", "1"]),
        (["", ""], pa.null(), [None, None]),
    ],
    ids=lambda value: str(value),
)
def test_a_csv_column_gets_a_type_only_where_it_loses_nothing(tmp_path, fields, kind, values):
    path = write_lines(tmp_path / "a.csv", "v,text", *(f"{field},a" for field in fields))
    for batch_rows in (1, 10):
        corpus = open_corpus([path], batch_rows=batch_rows, dialect=TYPED)
        assert corpus.schema.field("v").type == kind
        assert [row["v"] for row in rows(corpus)] == values
        assert [row["v"] for row in rows(open_corpus([path], batch_rows=batch_rows))] == fields


def test_csv_texts_stay_texts_and_empty_ones_are_empty(tmp_path):
    corpus = open_corpus([write_lines(tmp_path / "a.csv", "id,text", "1,007", "2,", '3,"a ""b""', ' c"')])
    assert texts(corpus) == ["007", "", 'a "b"\n c']


def test_a_byte_order_mark_inside_a_csv_file_is_part_of_a_text(tmp_path):
    path = write_lines(tmp_path / "a.csv", "\ufefftext,n", "\ufeffone,1", "\ufefftwo,2")
    corpus = open_corpus([path], batch_rows=1)
    assert corpus.schema.names == ["text", "n"]
    assert texts(corpus) == ["\ufeffone", "\ufefftwo"]


def test_quotes_inside_a_csv_field_open_nothing(tmp_path):
    corpus = open_corpus([write_lines(tmp_path / "a.csv", "text,n", '5" pipe,1', '"a,\nb",2', 'x"y"z,3')], batch_rows=1)
    assert texts(corpus) == ['5" pipe', "a,\nb", 'x"y"z']


# Text


@HYPOTHESIS
@given(st.lists(TEXTS.filter(lambda text: "\n" not in text and not text.endswith("\r")), min_size=1), st.booleans())
def test_row_n_of_a_text_file_is_its_line_n(tmp_path, lines, windows):
    (tmp_path / "a.txt").write_bytes(b"".join(line.encode() + b"\r\n"[not windows :] for line in lines))
    corpus = open_corpus([tmp_path / "a.txt"], shard_rows=3, batch_rows=2)
    expected = [lines[0].removeprefix("\ufeff"), *lines[1:]]
    assert texts(corpus) == expected


def test_a_file_can_be_a_text(tmp_path):
    for name, content in (("b/2.txt", "two\nlines\r\n"), ("a.txt", ""), ("b/1.txt", "one")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content.encode())
    corpus = open_corpus([tmp_path], text_unit="file", shard_rows=2)
    assert texts(corpus) == ["", "one", "two\nlines\r\n"]
    assert [Path(row["path"]).name for row in rows(corpus)] == ["a.txt", "1.txt", "2.txt"]
    assert [shard.rows for shard in corpus.shards()] == [2, 1]
    assert texts(corpus.only_texts()) == texts(corpus)
    assert open_corpus([tmp_path], text_unit="file", limit=2).rows == 2


# Listing


def test_folders_and_globs_are_sorted_and_leave_out_hidden_files_and_outputs(tmp_path):
    for number, name in enumerate(["b.parquet", "a/z.parquet", "a/y.parquet", "c.pq"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_parquet(tmp_path / name, 1, first=number)
    for name in ("_SUCCESS", ".hidden.parquet", "a.nerx.parquet", "README.md"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".x.nerx-partial").mkdir()
    write_parquet(tmp_path / ".x.nerx-partial" / "part-00000.parquet")
    assert [row["id"] for row in rows(open_corpus([tmp_path]))] == [2, 1, 0, 3]
    assert [row["id"] for row in rows(open_corpus([f"{tmp_path}/**/*"]))] == [2, 1, 0, 3]
    assert [row["id"] for row in rows(open_corpus([tmp_path / "b.parquet", tmp_path / "a"]))] == [0, 2, 1]


@pytest.mark.parametrize("limit", [1, 5, 10, 11, 25, 99])
def test_limit_takes_the_first_rows(tmp_path, limit):
    write_parquet(tmp_path / "a.parquet", 10, 4)
    write_lines(tmp_path / "b.jsonl", *({"id": number, "text": f"Text {number}"} for number in range(10, 20)))
    write_lines(tmp_path / "c.csv", "id,text", *(f"{number},Text {number}" for number in range(20, 30)))
    corpus = open_corpus([tmp_path], limit=limit, batch_rows=3, dialect=TYPED)
    assert [row["id"] for row in rows(corpus)] == list(range(min(limit, 30)))
    assert texts(corpus.only_texts()) == texts(corpus)


def test_identity_follows_the_content(tmp_path):
    path = write_lines(tmp_path / "a.txt", "one", "two")
    before = open_corpus([path]).identity
    os.utime(path, (0, 0))
    assert open_corpus([path]).identity == before
    write_lines(path, "one", "too")
    assert open_corpus([path]).identity != before


# Wrong input


def broken(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def parquet_bytes(folder: Path, table: pa.Table | None = None) -> bytes:
    pq.write_table(table or pa.table({"text": ["word " * 50] * 1000}), folder / "whole")
    return (folder / "whole").read_bytes()


WRONG = {
    "missing file": (lambda d: d / "no.parquet", "no.parquet: no such file or folder"),
    "empty folder": (lambda d: d, "no file with a known suffix in this folder (.parquet, "),
    "no match": (lambda d: f"{d}/*.parquet", "*.parquet: the pattern matches nothing"),
    "no known match": (lambda d: f"{broken(d, 'a.dat', b'').parent}/*.dat", "the pattern matches no file with a known"),
    "unknown suffix": (lambda d: broken(d, "a.dat", b"x"), "a.dat: unknown kind of file; nerx reads .parquet"),
    "truncated Parquet": (lambda d: broken(d, "a.parquet", parquet_bytes(d)[:-100]), "a.parquet: not a Parquet file"),
    "foreign Parquet": (lambda d: broken(d, "a.parquet", b"id,text\n1,a\n"), "not a Parquet file, or a truncated one"),
    "empty Parquet": (lambda d: broken(d, "a.parquet", b""), "not a Parquet file, or a truncated one"),
    "empty JSONL": (lambda d: broken(d, "a.jsonl", b"\n \n"), "a.jsonl: is empty: it holds no JSON object"),
    "empty CSV": (lambda d: broken(d, "a.csv", b""), "a.csv: is empty; the first line of a CSV file names its columns"),
    "empty text": (lambda d: broken(d, "a.txt", b""), "a.txt: is empty: it holds no line"),
    "UTF-8 in text": (lambda d: broken(d, "a.txt", b"one\ntw\xff\xfeo\n"), "a.txt:2: not UTF-8 at byte 3 of the line"),
    "UTF-8 in JSONL": (lambda d: broken(d, "a.jsonl", b'{"text": "a"}\n\n{"text": "\xe4"}\n'), "a.jsonl:3: not UTF-8"),
    "UTF-8 in CSV": (lambda d: broken(d, "a.csv", b'text\n"a\nb"\nd\xe9j\xe0\n'), "a.csv:4: not UTF-8"),
    "UTF-8 in a header": (lambda d: broken(d, "a.csv", b"t\xe9xt\na\n"), "a.csv:1: not UTF-8 in the header"),
    "UTF-16": (lambda d: broken(d, "a.csv", "id,text\n".encode("utf-16")), "a.csv:1: not UTF-8"),
    "bad JSON": (
        lambda d: broken(d, "a.jsonl", b'{"text": "a"}\n{"text": "b"\n'),
        "a.jsonl:2: not valid JSON (Expecting",
    ),
    "JSON array": (lambda d: broken(d, "a.json", b'[{"text": "a"}]'), "a.json: one JSON array, not JSON Lines"),
    "JSON values": (lambda d: broken(d, "a.jsonl", b'{"text": "a"}\n3\n'), "a.jsonl:2: not a JSON object"),
    "JSON types": (
        lambda d: write_lines(d / "a.jsonl", {"text": "a", "n": 1}, {"text": "b", "n": "2"}),
        "a.jsonl:2: column 'n' was int64 so far and is string here",
    ),
    "JSON types later": (
        lambda d: write_lines(d / "a.jsonl", *[{"text": "a", "n": 1}] * 5000, {"text": "b", "n": "2"}),
        "a.jsonl:5001: column 'n' was int64 so far and is string here",
    ),
    "JSON empty objects": (
        lambda d: write_lines(d / "a.jsonl", {"text": "a", "meta": {}}),
        "a.jsonl: a column cannot be stored as Parquet; drop it (Cannot write struct type 'meta'",
    ),
    "CSV row too short": (
        lambda d: write_lines(d / "a.csv", "id,text", "1,a", '2,"b', 'b"', "3"),
        "a.csv:5: 1 field where the header has 2 ('id', 'text'), split at ','",
    ),
    "CSV quote": (lambda d: write_lines(d / "a.csv", "id,text", "1,a", '2,"b', "3,c"), "a.csv:3: a record begins here"),
    "CSV line ends": (lambda d: broken(d, "a.csv", b"id,text\r1,a\r"), "a.csv:1: the line ends are CR alone"),
    "CSV header": (lambda d: broken(d, "a.csv", b"x" * 200_000), "a.csv:1: not a CSV header (field larger than"),
    "CSV names": (lambda d: write_lines(d / "a.csv", "a,b,a", "1,2,3"), "a.csv:1: columns named twice: 'a'"),
    "damaged gzip": (lambda d: broken(d, "a.txt.gz", gzip.compress(b"a\n" * 999)[:-9]), "a.txt.gz: cannot be read"),
    "no gzip": (lambda d: broken(d, "a.txt.gz", b"a\n"), "a.txt.gz: cannot be read (Not a gzipped file"),
    "output as input": (
        lambda d: broken(d, "a.parquet", parquet_bytes(d, pa.table({"text": ["a"], "entities": ["b"]}))),
        "a.parquet: has a column 'entities' already, which nerx adds; is this an output of nerx?",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_refused_in_one_line_that_says_where(tmp_path, case):
    make, message = WRONG[case]
    path = make(tmp_path)
    with pytest.raises(CorpusError) as caught:
        open_corpus([path])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "wanted", "message"),
    [
        (
            {"a": ["x"], "n": [1]},
            "body",
            "no column 'body' (asked for as the text column); columns: a (string), n (int64)",
        ),
        ({"a": ["x"], "n": [1]}, "n", "column 'n' is int64, not a string; columns: a (string), n (int64)"),
        ({"a": [["x"]]}, None, "no string column; name one with --text-column. Columns: a (list<"),
        ({"a": ["x"], "b": ["y"]}, None, "2 string columns and none is called 'text'; name one with --text-column"),
        ({"text": [b"x"]}, None, "column 'text' is binary, not a string"),
    ],
)
def test_a_text_column_that_is_missing_or_no_text_lists_the_columns(tmp_path, table, wanted, message):
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    with pytest.raises(CorpusError) as caught:
        open_corpus([tmp_path / "a.parquet"], text_column=wanted)
    assert message in str(caught.value)


def test_the_id_column_is_checked_and_is_never_taken_for_the_text(tmp_path):
    pq.write_table(pa.table({"key": ["k"], "body": ["b"]}), tmp_path / "a.parquet")
    assert open_corpus([tmp_path / "a.parquet"], id_column="key").text_column == "body"
    with pytest.raises(CorpusError, match="no column 'uid'"):
        open_corpus([tmp_path / "a.parquet"], id_column="uid")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"id": [1]}, "b.parquet: lacks 'text'; all files must have the columns of"),
        ({"id": [1], "text": ["a"], "x": [1]}, "b.parquet: has 'x' besides"),
        ({"text": ["a"], "id": [1]}, "b.parquet: has the columns in another order (text, id)"),
        ({"id": ["1"], "text": ["a"]}, "b.parquet: column 'id' is string, not int64"),
    ],
)
def test_files_of_differing_columns_are_refused_with_the_difference(tmp_path, other, message):
    write_parquet(tmp_path / "a.parquet")
    pq.write_table(pa.table(other), tmp_path / "b.parquet")
    with pytest.raises(CorpusError) as caught:
        open_corpus([tmp_path])
    assert message in str(caught.value)


def test_a_file_given_twice_is_refused(tmp_path):
    path = write_parquet(tmp_path / "a.parquet")
    (tmp_path / "link.parquet").symlink_to(path)
    for paths in ([path, path], [tmp_path / "a.parquet", f"{tmp_path}/*.parquet"], [tmp_path]):
        with pytest.raises(CorpusError, match="given twice"):
            open_corpus(paths)


def test_a_file_that_changes_during_the_run_is_noticed(tmp_path):
    for path in (write_parquet(tmp_path / "a.parquet"), write_lines(tmp_path / "a.jsonl", {"text": "a"})):
        corpus = open_corpus([path])
        path.write_bytes(path.read_bytes()[:-3])
        with pytest.raises(CorpusError, match="changed during the run"):
            rows(corpus)


def test_damage_inside_a_parquet_file_is_placed(tmp_path):
    data = bytearray(parquet_bytes(tmp_path, pa.table({"text": [str(n) * 40 for n in range(20_000)]})))
    data[50_000:60_000] = bytes(10_000)
    with pytest.raises(CorpusError, match=r"a.parquet: damaged at or after row [\d,]+ \("):
        rows(open_corpus([broken(tmp_path, "a.parquet", bytes(data))]))
