"""JSON Lines and CSV through the real command: every value comes out as the file has it, or nothing comes out."""

import csv
import json
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from commands import Nerx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nerx.engine.errors import CorpusError
from nerx.engine.reading.corpus import open_corpus
from nerx.engine.reading.dialect import Dialect
from nerx.engine.reading.jsontype import is_double

DATA = Path(__file__).parent / "data" / "as_written"
SLOW = settings(
    deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
FAST = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
Rows = list[dict[str, Any]]


def extracted(nerx: Nerx, adapter: Path, out: Path, *arguments: object) -> Rows:
    """The columns of the input as the command writes them, and `nerx_error`."""
    done = nerx("extract", *arguments, "--adapter", adapter, "--out", out, "--max-failures", "100%", "--overwrite")
    assert done.code == 0, done.err
    rows: Rows = pq.read_table(out).drop_columns(["entities"]).to_pylist()
    return rows


def without_errors(rows: Rows) -> Rows:
    assert all(row.pop("nerx_error") is None for row in rows)
    return rows


JSON_KEPT: dict[str, tuple[list[str], Rows]] = {
    "beyond 64 bits": (["beyond_64_bits.jsonl"], [{"id": "12345678901234567890"}, {"id": "7"}]),
    "beyond 2^53 beside a fraction": (["beside_a_fraction.jsonl"], [{"n": "9007199254740993"}, {"n": "1.5"}]),
    "in an object and in a list": (
        ["nested.jsonl"],
        [
            {"m": {"id": "12345678901234567890", "list": ["9007199254740993", "1.5"]}},
            {"m": {"id": "1", "list": []}},
        ],
    ),
    "in two files": (["other_file_1.jsonl", "other_file_2.jsonl"], [{"n": "9007199254740993"}, {"n": "0.5"}]),
    "in two files, the fraction first": (
        ["other_file_2.jsonl", "other_file_1.jsonl"],
        [{"n": "0.5"}, {"n": "9007199254740993"}],
    ),
    "more than a double holds": (["beyond_a_double.jsonl"], [{"n": "1e400", "m": "0.30000000000000000001", "k": 0.1}]),
}


@pytest.mark.parametrize(("names", "expected"), JSON_KEPT.values(), ids=JSON_KEPT)
def test_no_digit_of_a_json_number_changes(
    names: list[str], expected: Rows, nerx: Nerx, tiny_adapter: Path, tmp_path: Path
) -> None:
    rows = without_errors(extracted(nerx, tiny_adapter, tmp_path / "out.parquet", *(DATA / name for name in names)))
    assert [{key: value for key, value in row.items() if key != "text"} for row in rows] == expected


@pytest.mark.parametrize("fraction_first", [False, True])
def test_no_digit_changes_in_a_later_block(
    fraction_first: bool, nerx: Nerx, tiny_adapter: Path, tmp_path: Path
) -> None:
    numbers = ["9007199254740993"] * 3000 + ["1.5"]
    numbers = numbers[::-1] if fraction_first else numbers
    (tmp_path / "a.jsonl").write_text("".join(f'{{"text": "", "n": {number}}}\n' for number in numbers))
    rows = extracted(nerx, tiny_adapter, tmp_path / "out.parquet", tmp_path / "a.jsonl")
    assert [row["n"] for row in rows] == numbers


def test_the_output_says_which_strings_are_numbers(nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    extracted(nerx, tiny_adapter, tmp_path / "out.parquet", DATA / "nested.jsonl")
    inner = pq.read_schema(tmp_path / "out.parquet").field("m").type
    for field in (inner.field("id"), inner.field("list").type.value_field):
        assert field.metadata == {b"nerx.numbers": b"as written"}
    extracted(nerx, tiny_adapter, tmp_path / "out.parquet", DATA / "other_file_1.jsonl")
    assert pq.read_schema(tmp_path / "out.parquet").field("n").metadata is None


def test_a_growing_folder_takes_plain_numbers_beside_long_ones(nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    lake, grow = tmp_path / "lake", ("--adapter", tiny_adapter, "--out", tmp_path / "out", "--incremental")
    lake.mkdir()
    (lake / "1.jsonl").write_text('{"text": "", "id": 12345678901234567890}\n')
    assert nerx("extract", lake, *grow).code == 0
    (lake / "2.jsonl").write_text('{"text": "", "id": 5}\n')
    assert nerx("extract", lake, *grow).code == 0
    assert pq.read_table(tmp_path / "out").column("id").to_pylist() == ["12345678901234567890", "5"]
    (lake / "3.jsonl").write_text('{"text": "", "id": "5"}\n')
    done = nerx("extract", lake, *grow)
    assert done.code == 2
    assert "3.jsonl: column 'id' was number so far and is string here" in done.errors[0]


def test_half_a_surrogate_pair_fails_its_row_alone(nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    rows = extracted(nerx, tiny_adapter, tmp_path / "out.parquet", DATA / "half_a_character.jsonl")
    assert [row["n"] for row in rows] == [1, 2, 3]
    assert [row["text"] for row in rows] == ["Ana left Lima.", "Bo \\ud83d stayed.", "Cy 😀 came."]
    assert [row["nerx_error"] for row in rows] == [
        None,
        "the text holds half of a surrogate pair, which UTF-8 cannot store",
        None,
    ]


CSV_READ: dict[str, tuple[list[str], Rows]] = {
    "numbers by default": (
        ["like_numbers.csv"],
        [
            {"text": "Ana left Lima.", "id": "12E5"},
            {"text": "Bo stayed.", "id": "120E4"},
            {"text": "Cy came.", "id": "47583311587E590003"},
            {"text": "Di ran.", "id": "007"},
        ],
    ),
    "numbers with types": (
        ["like_numbers.csv", "--infer-types"],
        [
            {"text": "Ana left Lima.", "id": "12E5"},
            {"text": "Bo stayed.", "id": "120E4"},
            {"text": "Cy came.", "id": "47583311587E590003"},
            {"text": "Di ran.", "id": "007"},
        ],
    ),
    "types": (
        ["typed.csv", "--infer-types"],
        [
            {"text": "Ana left Lima.", "id": 17, "price": "1.10", "exact": 1.5, "sold": True, "zip": "0012"},
            {"text": "Bo stayed.", "id": -3, "price": "1.1", "exact": -0.25, "sold": False, "zip": "1000"},
            {"text": "Cy came.", "id": None, "price": "2.00", "exact": None, "sold": None, "zip": ""},
        ],
    ),
    "backslashes before quotes": (
        ["backslash_quotes.csv", "--escape", "\\"],
        [{"text": 'He said "Gdynia" today', "n": "1"}, {"text": 'plain, and "doubled"', "n": "2"}],
    ),
    "a backslash before the last quote": (
        ["backslash_at_the_end.csv", "--escape", "\\"],
        [{"text": 'the pipe of 5"', "n": "1"}, {"text": 'pipe 3"', "n": "2"}],
    ),
    "plain quotes": (
        ["plain_quotes.tsv", "--delimiter", "tab", "--quote", "none"],
        [{"text": '"Hello', "n": "1"}, {"text": 'she said "no"', "n": "2"}, {"text": '"bye', "n": "3"}],
    ),
    "plain quotes that look like real ones": (
        ["joined_by_quotes.tsv", "--quote", "none"],
        [{"text": '"Hello', "n": "1"}, {"text": 'world"', "n": "2"}],
    ),
    "real quotes that look like plain ones": (
        ["joined_by_quotes.tsv", "--quote", '"'],
        [{"text": "Hello\t1\nworld", "n": "2"}],
    ),
    "a separator line": (["separator_line.csv"], [{"text": "Ana; left", "n": "1"}]),
    "a text column that is named": (
        ["one_column_no_header.csv", "--text-column", "Ana left Lima."],
        [{"Ana left Lima.": "Bo stayed."}],
    ),
}


@pytest.mark.parametrize(("arguments", "expected"), CSV_READ.values(), ids=CSV_READ)
def test_csv_is_read_as_it_is_written(
    arguments: list[str], expected: Rows, nerx: Nerx, tiny_adapter: Path, tmp_path: Path
) -> None:
    name, *options = arguments
    assert without_errors(extracted(nerx, tiny_adapter, tmp_path / "out.parquet", DATA / name, *options)) == expected


REFUSED: dict[str, tuple[list[str], list[str]]] = {
    "backslashes before quotes": (
        ["backslash_quotes.csv"],
        ["backslash_quotes.csv:2: a quoted field goes on after its closing quote", "--escape '\\'", "--quote none"],
    ),
    "a backslash before the last quote": (
        ["backslash_at_the_end.csv"],
        ["backslash_at_the_end.csv:2: a quote joins lines here", "--escape '\\'"],
    ),
    "bare quotes": (["bare_quotes.csv"], ["bare_quotes.csv:2: a quoted field goes on after its closing quote"]),
    "plain quotes": (["plain_quotes.tsv"], ["plain_quotes.tsv:3: a quoted field goes on", "--quote none"]),
    "plain quotes that look like real ones": (
        ["joined_by_quotes.tsv"],
        ["joined_by_quotes.tsv:2: a quote joins lines here, but each of its 2 lines has all 2 fields", "--quote none"],
    ),
    "a separator line and another delimiter": (
        ["separator_line.csv", "--delimiter", "|"],
        ["separator_line.csv:1: this line says that the delimiter is ';'"],
    ),
    "a comment line": (["comment.csv"], ["comment.csv:2: 2 fields where the header has 1", "split at ','"]),
    "no header": (["no_header.csv"], ["none is called 'text'", "Ana left Lima. (string)", "split it at ';'; add one"]),
    "no header, one column": (["one_column_no_header.csv"], ["no column 'text'", "split it at ','; add one"]),
    "a short row": (
        ["short_row.csv"],
        ["short_row.csv:3: 1 field where the header has 2 ('id', 'text'), split at ','"],
    ),
    "half a character in an id": (
        ["half_a_character_in_an_id.jsonl"],
        ["half_a_character_in_an_id.jsonl:2: column 'id' holds half of a surrogate pair (\\ud83d)"],
    ),
    "two characters": (["typed.csv", "--delimiter", "||"], ["--delimiter '||': give one ASCII character, or tab"]),
    "one character twice": (["typed.csv", "--quote", ",", "--delimiter", ","], ["must be different characters"]),
}


@pytest.mark.parametrize(("arguments", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_for_sure_is_refused(
    arguments: list[str], said: list[str], nerx: Nerx, tiny_adapter: Path, tmp_path: Path
) -> None:
    name, *options = arguments
    done = nerx("extract", DATA / name, "--adapter", tiny_adapter, "--out", tmp_path / "out.parquet", *options)
    assert done.code == 2, done.err
    assert len(done.errors) == 1
    assert all(words in done.errors[0] for words in said), done.errors
    assert list(tmp_path.iterdir()) == []


def test_how_csv_is_read_belongs_to_the_run(nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,n\nAna,1\n")
    run = ("extract", tmp_path / "a.csv", "--adapter", tiny_adapter, "--out", tmp_path / "out", "--incremental")
    assert nerx(*run).code == 0
    assert nerx(*run).code == 0
    for options in (["--infer-types"], ["--quote", "none"], ["--escape", "\\"], ["--delimiter", ","]):
        done = nerx(*run, *options)
        assert done.code == 2
        assert options[0].strip("-").replace("-", " ") in done.errors[0]


def test_a_job_file_says_how_csv_is_written(nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    job = tmp_path / "job.toml"
    lines = [f'corpus = "{DATA / "plain_quotes.tsv"}"', f'adapter = "{tiny_adapter}"', 'out = "out.parquet"']
    job.write_text("\n".join([*lines, 'delimiter = "tab"', 'quote = "none"', "infer_types = true"]))
    assert nerx("run", job).code == 0
    assert pq.read_table(tmp_path / "out.parquet").column("n").to_pylist() == [1, 2, 3]


# Any values

DIGITS = st.text("0123456789", min_size=1, max_size=40)
WHOLE = st.one_of(
    st.integers(-100, 100).map(str),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from([2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**40]).map(str),
    st.just("-0"),
)
FRACTION = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda value: f"{value:.17g}"),
    st.builds(lambda whole, part: f"{whole}.{part}", WHOLE, DIGITS),
    st.builds(lambda number, exponent: f"{number}e{exponent}", WHOLE, st.integers(-400, 400)),
    st.builds(lambda part, exponent: f"1.{part}E+{exponent}", DIGITS, st.integers(0, 400)),
).filter(lambda number: "inf" not in number)
NUMBERS = WHOLE | FRACTION
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
DATES = st.datetimes().map(str) | st.dates().map(str) | st.just("2024-01-01T00:00:00Z")
STRINGS = TEXTS | DATES | NUMBERS | st.sampled_from(['"', "''", "\\", "\\u0041", "😀", "NA", "null", "true", "\ufeff"])
STRINGS_IN_JSON = st.builds(
    lambda value, ascii_only: json.dumps(value, ensure_ascii=ascii_only), STRINGS, st.booleans()
)


def object_of(members: dict[str, str]) -> str:
    return "{" + ", ".join(f'"{name}": {value}' for name, value in members.items()) + "}"


def columns(kinds: dict[str, st.SearchStrategy[str]]) -> st.SearchStrategy[str]:
    """Objects with some of these members. One is always there, since Parquet has no type for an object without any."""
    return st.fixed_dictionaries({"z": st.just("1")}, optional=kinds).map(object_of)


VALUES = {
    "whole": WHOLE,
    "number": NUMBERS,
    "small": st.sampled_from(["0", "1", "2.5", "-7", "1e3"]),
    "string": STRINGS_IN_JSON,
    "flag": st.sampled_from(["true", "false", "null"]),
    "list": st.lists(NUMBERS | st.just("null"), max_size=3).map(lambda values: f"[{','.join(values)}]"),
    "nest": columns({"id": NUMBERS, "when": STRINGS_IN_JSON, "deep": columns({"n": WHOLE})}),
}
RECORDS = st.builds(lambda text, rest: f'{{"text": {text}, {rest[1:]}', STRINGS_IN_JSON, columns(VALUES))


class Raw(str):
    """A number as the file spells it."""


def as_written(line: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(line, parse_int=Raw, parse_float=Raw)
    return record


def agrees(written: object, found: object) -> bool:
    """Whether `found` is what `json` reads; for a number, with all its digits. What is missing is null."""
    if isinstance(written, Raw):
        if isinstance(found, str):
            return found == written
        number = Decimal(written)
        if isinstance(found, int):
            return number == found
        last_digit = Decimal(1).scaleb(int(number.as_tuple().exponent))
        return (
            isinstance(found, float) and found == json.loads(written) and 2 * abs(number - Decimal(found)) <= last_digit
        )
    if isinstance(written, dict):
        return isinstance(found, dict) and all(agrees(written.get(key), value) for key, value in found.items())
    if isinstance(written, list):
        return isinstance(found, list) and len(found) == len(written) and all(map(agrees, written, found))
    return written == found and type(written) is type(found)


def corpus_rows(path: Path, dialect: Dialect | None = None) -> Rows:
    corpus = open_corpus([path], batch_rows=3, shard_rows=7, dialect=dialect)
    return [row for shard in corpus.shards() for batch in corpus.batches(shard) for row in batch.to_pylist()]


def require_as_written(lines: list[str], rows: Rows) -> None:
    assert len(rows) == len(lines)
    for line, row in zip(lines, rows, strict=True):
        assert as_written(line).keys() <= row.keys()
        assert agrees(as_written(line), row), (line, row)


@FAST
@given(st.lists(RECORDS, min_size=1, max_size=12))
def test_the_reader_keeps_any_json_value(tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8", newline="")
    require_as_written(lines, corpus_rows(tmp_path / "a.jsonl"))


@SLOW
@given(st.lists(RECORDS, min_size=1, max_size=30))
def test_any_json_value_comes_out_as_it_was_written(
    nerx: Nerx, tiny_adapter: Path, tmp_path: Path, lines: list[str]
) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8", newline="")
    rows = without_errors(extracted(nerx, tiny_adapter, tmp_path / "out.parquet", tmp_path / "a.jsonl"))
    require_as_written(lines, rows)


CELLS = STRINGS | st.sampled_from(
    ["", "1", "0", "2.5", "TRUE", "false", "1,2", "a;b", "a\tb", 'say "x"', "\r\n", "x\ny"]
)
TABLES = st.lists(st.tuples(CELLS, CELLS, CELLS, st.sampled_from(["1", "22", "", "2.5"])), min_size=1, max_size=15)
DIALECTS: st.SearchStrategy[tuple[dict[str, Any], tuple[str | None, str | None]]] = st.sampled_from(
    [
        ({"quoting": csv.QUOTE_ALL}, ('"', None)),
        ({"quoting": csv.QUOTE_MINIMAL}, ('"', None)),
        ({"quoting": csv.QUOTE_MINIMAL, "quotechar": "'"}, ("'", None)),
        ({"quoting": csv.QUOTE_ALL, "doublequote": False, "escapechar": "\\"}, (None, "\\")),
        ({"quoting": csv.QUOTE_NONE, "escapechar": "\\", "quotechar": None}, ("none", "\\")),
    ]
)
NAMES = ["text", "a", "b", "n"]


def write_csv(path: Path, table: list[tuple[str, ...]], delimiter: str, form: dict[str, Any]) -> Rows:
    """Written, and read back, by Python's own `csv`."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, delimiter=delimiter, **form).writerows([NAMES, *table])
    with path.open(encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream, delimiter=delimiter, **form)
    return [dict(zip(header, row, strict=True)) for row in rows]


def spelled(value: object) -> str:
    """A typed value as CSV spells it; bools in small letters."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def require_same_cells(expected: Rows, rows: Rows) -> None:
    for wanted, row in zip(expected, rows, strict=True):
        for name, value in row.items():
            cell = wanted[name].lower() if isinstance(value, bool) else wanted[name]
            assert spelled(value) == cell, (wanted, row)


@FAST
@given(TABLES, st.sampled_from(",;\t|"), DIALECTS, st.booleans())
def test_the_reader_keeps_any_csv_cell(
    tmp_path: Path,
    table: list[tuple[str, ...]],
    delimiter: str,
    form: tuple[dict[str, Any], tuple[str, str]],
    typed: bool,
) -> None:
    written, (quote, escape) = form
    expected = write_csv(tmp_path / "a.csv", table, delimiter, written)
    require_same_cells(expected, corpus_rows(tmp_path / "a.csv", Dialect.parse(delimiter, quote, escape, typed)))


@SLOW
@given(TABLES, st.sampled_from([",", ";", "tab", "|"]), DIALECTS, st.booleans())
def test_any_csv_cell_comes_out_as_it_was_written(
    nerx: Nerx,
    tiny_adapter: Path,
    tmp_path: Path,
    table: list[tuple[str, ...]],
    delimiter: str,
    form: tuple[dict[str, Any], tuple[str | None, str | None]],
    typed: bool,
) -> None:
    written, (quote, escape) = form
    expected = write_csv(tmp_path / "a.csv", table, delimiter.replace("tab", "\t"), written)
    given = {"--delimiter": delimiter, "--quote": quote, "--escape": escape}
    options = [f"{option}={value}" for option, value in given.items() if value] + ["--infer-types"] * typed
    rows = without_errors(extracted(nerx, tiny_adapter, tmp_path / "out.parquet", tmp_path / "a.csv", *options))
    require_same_cells(expected, rows)


@FAST
@given(TABLES, st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
def test_a_standard_csv_file_is_read_right_or_refused(
    tmp_path: Path, table: list[tuple[str, ...]], quoting: int
) -> None:
    """Without options, too. Refused are the few that can be read in two ways."""
    expected = write_csv(tmp_path / "a.csv", table, ",", {"quoting": quoting})
    with suppress(CorpusError):
        require_same_cells(expected, corpus_rows(tmp_path / "a.csv"))


@pytest.mark.parametrize(
    ("number", "held"),
    [
        ("0.1", True), ("0.10000000000000001", True), ("1e23", True), ("-0.0", True), ("1.10", True), ("5e-324", True),
        ("9007199254740993", False), ("9007199254740993.0", False), ("0.30000000000000000001", False),
        ("1e400", False), ("1e-400", False), ("0.1000000000000000055511151231257827", True), ("1" * 900, False),
    ],
)  # fmt: skip
def test_a_double_holds_a_number_if_it_gives_the_digits_back(number: str, held: bool) -> None:
    assert is_double(number) == held
