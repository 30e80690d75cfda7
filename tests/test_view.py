"""What `nerx view` shows: entities marked, control characters disarmed, long texts cut around what was found."""

from pathlib import Path

import polars as pl
import pytest
from commands import Nerx
from hypothesis import given
from hypothesis import strategies as st

from nerx.cli.highlight import excerpt, highlight, printable
from nerx.engine.review.enriched import Enriched
from nerx.engine.span import Span

ENTITY = pl.Struct({"start": pl.Int32, "end": pl.Int32, "label": pl.String, "text": pl.String, "score": pl.Float32})
ADA = {"start": 0, "end": 3, "label": "person", "text": "Ada", "score": 0.9}
ROME = {"start": 12, "end": 16, "label": "place", "text": "Rome", "score": 0.8}
ROWS = [
    ("Ada went to Rome.", [ADA, ROME], None),
    ("Nothing.", [], None),
    (None, None, None),
    ("Ada stayed.", [ADA], None),
    ("Too long.", None, "out of memory"),
]


@pytest.fixture
def enriched(tmp_path: Path) -> Path:
    schema = {"text": pl.String, "entities": pl.List(ENTITY), "nerx_error": pl.String}
    path = tmp_path / "corpus.nerx.parquet"
    pl.DataFrame(ROWS, schema, orient="row").write_parquet(path)
    return path


def test_rows_with_entities_are_shown_in_brackets_off_a_terminal(nerx: Nerx, enriched: Path) -> None:
    done = nerx("view", enriched)
    assert done.code == 0
    assert done.out.splitlines() == [
        "     0  [Ada | person] went to [Rome | place].",
        "     3  [Ada | person] stayed.",
    ]


def test_rows_can_be_chosen(nerx: Nerx, enriched: Path) -> None:
    assert len(nerx("view", enriched, "--rows", 1).out.splitlines()) == 1
    assert nerx("view", enriched, "--label", "place").out.split()[0] == "0"
    numbers = [line.split()[0] for line in nerx("view", enriched, "--empty").out.splitlines()]
    assert numbers == ["0", "1", "2", "3", "4"]
    assert "nerx_error: out of memory" in nerx("view", enriched, "--empty").out
    none = nerx("view", enriched, "--label", "cargo")
    assert (none.code, none.out) == (0, "")
    assert "no row" in none.err
    assert "'cargo'" in none.err


def test_a_dataset_folder_is_read_as_one(enriched: Path, tmp_path: Path) -> None:
    folder = tmp_path / "enriched"
    folder.mkdir()
    for index in range(2):
        (folder / f"part-{index:05d}.parquet").write_bytes(enriched.read_bytes())
    assert [row.number for row in Enriched(folder).with_entities()] == [0, 3, 5, 8]


def test_another_text_column(nerx: Nerx, enriched: Path) -> None:
    pl.read_parquet(enriched).rename({"text": "body"}).write_parquet(enriched)
    missing = nerx("view", enriched)
    assert missing.code == 2
    assert "body" in missing.errors[0]
    assert "[Ada | person]" in nerx("view", enriched, "--text-column", "body").out


def test_what_acts_on_a_terminal_is_disarmed() -> None:
    text = "a\x1b[31mred\x07\u202egnp\x9b0m"
    shown = printable(text)
    assert len(shown) == len(text)
    assert not set(shown) & set("\x1b\x07\u202e\x9b")
    assert printable("two\nlines\tand 😀") == "two\nlines\tand 😀"


def test_colour_marks_the_mention_and_names_the_label() -> None:
    shown = highlight("Ada went.", [Span(0, 3, "person")], ["person"], colour=True)
    assert shown.plain == " Ada  person went."
    assert [str(span.style) for span in shown.spans] == ["bold black on cyan", "cyan"]


@given(st.text(max_size=60), st.integers(0, 50), st.integers(1, 10), st.integers(1, 70))
def test_an_excerpt_keeps_mentions_and_their_offsets(text: str, start: int, length: int, limit: int) -> None:
    span = Span(start, start + length, "x")
    spans = [span] if span.end <= len(text) else []
    cut, moved = excerpt(text, spans, limit)
    assert len(cut) <= max(limit, 0) + 4
    if spans and length <= limit // 2:
        assert moved
    for after in moved:
        assert cut[after.start : after.end] == text[span.start : span.end]
