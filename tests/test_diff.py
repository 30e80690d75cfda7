"""`nerx diff`: what counts as which change, rows matched in either way, drift as an exit code, flat memory."""

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from commands import Nerx
from hypothesis import given
from hypothesis import strategies as st

from nerx.engine.errors import InputError
from nerx.engine.review import enriched
from nerx.engine.review.comparison import Change, Comparison, changes
from nerx.engine.review.enriched import Enriched, Row, matched
from nerx.engine.span import Span

ENTITY = pl.Struct({"start": pl.Int32, "end": pl.Int32, "label": pl.String, "text": pl.String, "score": pl.Float32})
SCHEMA = {"id": pl.Int64, "text": pl.String, "entities": pl.List(ENTITY), "nerx_error": pl.String}
Entities = Sequence[tuple[str, str]] | None
Given = tuple[int, str | None, Entities]


def row(key: int, text: str | None, found: Entities) -> tuple[object, ...]:
    """An output's row; an entity is (mention, label) and lies where the mention first occurs."""
    if found is None:
        return key, text, None, None if text is None else "out of memory"
    spans = [(text or "").index(mention) for mention, _ in found]
    entities = [
        {"start": at, "end": at + len(mention), "label": label, "text": mention, "score": 0.5}
        for at, (mention, label) in zip(spans, found, strict=True)
    ]
    return key, text, entities, None


def write(path: Path, rows: Sequence[Given]) -> Path:
    pl.DataFrame([row(*one) for one in rows], SCHEMA, orient="row").write_parquet(path)
    return path


OLD: list[Given] = [
    (1, "Ada went to Rome.", [("Ada", "person"), ("Rome", "person")]),
    (2, "Ever Given left Oslo.", [("Given", "ship"), ("Oslo", "place")]),
    (3, "Nothing.", []),
    (4, "Alan stayed.", [("Alan", "person")]),
    (5, "Old words of Grace.", [("Grace", "person")]),
    (6, None, None),
]
NEW: list[Given] = [
    (1, "Ada went to Rome.", [("Ada", "person"), ("Rome", "place")]),
    (2, "Ever Given left Oslo.", [("Ever Given", "ship"), ("Oslo", "place")]),
    (3, "Nothing.", [("Nothing", "ship")]),
    (4, "Alan stayed.", None),
    (5, "New words of Grace.", []),
    (6, None, None),
]


@pytest.fixture
def outputs(tmp_path: Path) -> tuple[Path, Path]:
    return write(tmp_path / "old.parquet", OLD), write(tmp_path / "new.parquet", NEW)


def test_each_change_is_counted_once_for_its_label(nerx: Nerx, outputs: tuple[Path, Path]) -> None:
    done = nerx("diff", *outputs, "--json", "--quiet")
    assert (done.code, done.err) == (0, "")
    told = json.loads(done.out)
    assert (told["compared"], told["changed"], told["reworded"]) == (5, 4, 1)
    assert (told["old"]["failures"], told["new"]["failures"]) == (0, 1)
    counts = {
        label: {name: one[name] for name in ("old", "new", "gained", "lost", "became", "was", "moved")}
        for label, one in told["labels"].items()
    }
    zero = {"gained": 0, "lost": 0, "became": 0, "was": 0, "moved": 0}
    assert counts == {
        "person": {**zero, "old": 4, "new": 1, "lost": 1, "became": 1},
        "place": {**zero, "old": 1, "new": 2, "was": 1},
        "ship": {**zero, "old": 1, "new": 2, "gained": 1, "moved": 1},
    }
    assert told["relabelled"] == [{"from": "person", "to": "place", "count": 1}]
    assert told["labels"]["person"]["old_rate"] == pytest.approx(1000 * 4 / 5)
    assert told["labels"]["person"]["new_rate"] == pytest.approx(1000 * 1 / 4)
    assert told["labels"]["person"]["drift"] == pytest.approx((1 / 4) / (4 / 5) - 1)


def test_rates_can_be_taken_over_characters(nerx: Nerx, outputs: tuple[Path, Path]) -> None:
    told = json.loads(nerx("diff", *outputs, "--json", "--per", "characters").out)
    characters = sum(len(text) for _, text, found in NEW if text and found is not None)
    assert told["labels"]["place"]["new_rate"] == pytest.approx(1000 * 2 / characters)


def test_the_table_shows_no_text_unless_asked(nerx: Nerx, outputs: tuple[Path, Path]) -> None:
    plain = nerx("diff", *outputs)
    assert plain.code == 0
    assert not any(word in plain.out for word in ("Ada", "Rome", "Given", "Nothing"))
    assert "person -> place" in plain.out
    shown = nerx("diff", *outputs, "--show", 3).out
    assert "Ada went to [Rome | person -> place]." in shown
    assert "[Ever Given | ship] left Oslo.  (was: Given)" in shown
    assert "[Nothing | ship]." in shown
    assert "Alan" not in shown


def test_drift_sets_the_exit_code(nerx: Nerx, outputs: tuple[Path, Path]) -> None:
    assert nerx("diff", outputs[0], outputs[0], "--max-drift", 0).code == 0
    done = nerx("diff", *outputs, "--max-drift", 100, "--json")
    assert done.code == 3
    assert json.loads(done.out)["drifted"] == ["place", "ship"]
    assert "place +150.0 %" in done.errors[0]
    assert nerx("diff", *outputs, "--max-drift", 200).code == 0
    assert nerx("diff", *outputs, "--max-drift", 10, "--min-count", 3).errors[0].count("%") == 2
    assert nerx("diff", *outputs, "--max-drift", 10, "--min-count", 5).code == 0


def test_a_label_that_is_new_is_a_drift(nerx: Nerx, tmp_path: Path) -> None:
    old = write(tmp_path / "old.parquet", [(1, "Ada", [])])
    new = write(tmp_path / "new.parquet", [(1, "Ada", [("Ada", "person")])])
    done = nerx("diff", old, new, "--max-drift", 1000)
    assert done.code == 3
    assert "person new" in done.errors[0]


def test_rows_are_matched_by_id_in_any_order(nerx: Nerx, outputs: tuple[Path, Path], tmp_path: Path) -> None:
    mixed: list[Given] = [*NEW[1:4], (99, "Brand new.", []), NEW[0]]
    new = write(tmp_path / "mixed.parquet", mixed)
    told = json.loads(nerx("diff", outputs[0], new, "--id-column", "id", "--json").out)
    assert (told["compared"], told["only_old"], told["only_new"]) == (4, 2, 1)
    assert told["labels"]["ship"]["moved"] == 1
    by_order = json.loads(nerx("diff", outputs[0], new, "--json").out)
    assert by_order["reworded"] > by_order["compared"]
    assert "--id-column" in nerx("diff", outputs[0], new).err


def test_ids_must_identify(nerx: Nerx, outputs: tuple[Path, Path], tmp_path: Path) -> None:
    twice = write(tmp_path / "twice.parquet", [*NEW, NEW[0]])
    done = nerx("diff", outputs[0], twice, "--id-column", "id")
    assert done.code == 2
    assert "rows 0 and 6 have the same 'id'" in done.errors[0]
    null = nerx("diff", *outputs, "--id-column", "nerx_error")
    assert null.code == 2
    assert "holds nulls" in null.errors[0]
    missing = nerx("diff", *outputs, "--id-column", "key")
    assert "no id column 'key'" in missing.errors[0]


def test_what_is_no_output_is_named(nerx: Nerx, outputs: tuple[Path, Path], tmp_path: Path) -> None:
    pl.DataFrame({"text": ["a"]}).write_parquet(tmp_path / "plain.parquet")
    (tmp_path / "text.parquet").write_text("no Parquet")
    (tmp_path / "empty").mkdir()
    for name, said in {
        "plain.parquet": "not written by nerx extract",
        "text.parquet": "not a Parquet file",
        "empty": "without .parquet files",
        "none": "no such file",
    }.items():
        done = nerx("diff", outputs[0], tmp_path / name)
        assert done.code == 2
        assert said in done.errors[0]


def test_a_folder_of_parts_equals_one_file(nerx: Nerx, outputs: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    write(folder / "part-00000.parquet", NEW[:2])
    write(folder / "part-00001.parquet", NEW[2:])
    expected = json.loads(nerx("diff", *outputs, "--json").out)
    assert json.loads(nerx("diff", outputs[0], folder, "--json").out) == expected


def test_outputs_without_rows(nerx: Nerx, tmp_path: Path) -> None:
    empty = write(tmp_path / "empty.parquet", [])
    for options in ([], ["--id-column", "id"]):
        assert json.loads(nerx("diff", empty, empty, "--json", *options).out)["compared"] == 0


# What is a change

PLACES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 3), st.sampled_from("ab")),
    max_size=4,
).map(lambda gaps: spans_of(gaps))


def spans_of(gaps: Sequence[tuple[int, int, str]]) -> tuple[Span, ...]:
    spans, at = [], 0
    for gap, length, label in gaps:
        spans.append(Span(at + gap, at + gap + length, label))
        at += gap + length
    return tuple(spans)


@given(PLACES, PLACES)
def test_changes_account_for_every_entity(old: tuple[Span, ...], new: tuple[Span, ...]) -> None:
    found = changes(old, new)
    gone = [change.before for change in found if change.before]
    come = [change.after for change in found if change.after]
    kept = set(old) & set(new)
    assert sorted([*gone, *kept]) == sorted(old)
    assert sorted([*come, *kept]) == sorted(new)
    for change in found:
        if change.kind == "relabelled":
            assert (change.before.start, change.before.end) == (change.after.start, change.after.end)
        if change.kind == "moved":
            assert change.before.label == change.after.label
            assert change.before.key != change.after.key
            assert change.before.start < change.after.end
            assert change.after.start < change.before.end
    assert changes(old, old) == []
    assert len(changes(new, old)) == len(found) or any(change.kind == "moved" for change in found)


def test_scores_are_no_change() -> None:
    assert changes([Span(0, 3, "a", 0.9)], [Span(0, 3, "a", 0.1)]) == []
    assert Change(Span(0, 3, "a"), Span(0, 4, "a")).kind == "moved"


@given(st.lists(st.tuples(PLACES, PLACES), max_size=8))
def test_counts_of_a_label_balance(pairs: list[tuple[tuple[Span, ...], tuple[Span, ...]]]) -> None:
    """new = old - lost - became + gained + was, for every label."""
    comparison = Comparison()
    for number, spans in enumerate(pairs):
        comparison.add(*(Row(number, number, True, "x" * 30, side, (), None) for side in spans))
    for one in comparison.result().labels:
        assert one.new == one.old - one.lost - one.became + one.gained + one.was, one


# Many rows


@pytest.mark.parametrize("kind", ["integer", "string"])
def test_buckets_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    draw = random.Random(3)
    texts = [f"Ada met Bob {n}." for n in range(500)]
    found = [draw.sample([("Ada", "person"), ("Bob", draw.choice("ab"))], draw.randrange(3)) for _ in texts]
    found = [sorted(one) for one in found]
    rows: list[Given] = [(n, text, one) for n, (text, one) in enumerate(zip(texts, found, strict=True))]
    shuffled = draw.sample(rows, 450)
    paths = [write(tmp_path / "a.parquet", rows), write(tmp_path / "b.parquet", shuffled)]
    if kind == "string":
        for path in paths:
            pl.read_parquet(path).cast({"id": pl.String}).write_parquet(path)

    def compare() -> dict[object, tuple[object, object]]:
        opened = [Enriched(path, id_column="id") for path in paths]
        return {(a or b).key: (a and a.number, b and b.number) for a, b in matched(*opened)}

    whole = compare()
    monkeypatch.setattr(enriched, "BUCKET_ROWS", 40)
    monkeypatch.setattr(enriched, "READ_ROWS", 7)
    assert compare() == whole
    assert len(whole) == 500
    assert sum(b is None for _, b in whole.values()) == 50


def test_a_nested_id_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", OLD)
    opened = Enriched(path, id_column="entities")
    with pytest.raises(InputError, match=r"nested|nulls"):
        list(matched(opened, opened))


PEAK = """
import sys
from pathlib import Path
from nerx.engine.review.comparison import Comparison
from nerx.engine.review.enriched import Enriched, matched

comparison = Comparison()
opened = [Enriched(Path(path), id_column=sys.argv[3] or None) for path in sys.argv[1:3]]
for old, new in matched(*opened):
    comparison.add(old, new)
print(comparison.result().compared, Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


def peak(old: Path, new: Path, id_column: str) -> tuple[int, int]:
    """(rows compared, peak resident KiB) of a process of its own."""
    command = [sys.executable, "-c", PEAK, str(old), str(new), id_column]
    rows, size = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(rows), int(size)


@pytest.mark.slow
@pytest.mark.parametrize("id_column", ["", "id"])
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, id_column: str, record_property) -> None:
    def corpus(count: int) -> Path:
        rows = pl.select(pl.int_range(count, dtype=pl.Int64).alias("id")).with_columns(
            pl.format("Order {} of many crates left Rome at noon for a place that has no name", "id").alias("text"),
            pl.lit([{"start": 0, "end": 5, "label": "order", "text": "Order", "score": 0.5}], pl.List(ENTITY)).alias(
                "entities"
            ),
            pl.lit(None, pl.String).alias("nerx_error"),
        )
        rows.write_parquet(tmp_path / f"{count}.parquet", row_group_size=50_000)
        return tmp_path / f"{count}.parquet"

    small, large = corpus(100_000), corpus(1_000_000)
    few, base = peak(small, small, id_column)
    many, most = peak(large, large, id_column)
    assert (few, many) == (100_000, 1_000_000)
    record_property("MiB at 100,000 rows and at 1,000,000", (base // 1024, most // 1024))
    assert most < 1.3 * base
