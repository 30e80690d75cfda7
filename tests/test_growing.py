"""Incremental runs: what is new is added, what is there is left alone, and no kill makes the two disagree."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from capitals import POISON, Capitals
from grown import Grown, grow
from killing import killed_at
from test_retry import Recovered

from nerx.engine.errors import CorpusError, OutputError, OutputLockedError
from nerx.engine.run.retry import FailedRows
from nerx.engine.writing import manifest
from nerx.engine.writing.lock import OutputLock
from nerx.engine.writing.manifest import manifest_file
from nerx.engine.writing.part import output_tally
from nerx.engine.writing.place import lock_file

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _trust_young_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else inputs that the test has just written are digested again, which hides whether their time is trusted."""
    monkeypatch.setattr(manifest, "CLOCK_NS", 0)


def write(path: Path, first: int, count: int = 3, word: str = "Ada") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = range(first, first + count)
    texts = pa.array([f"{word} has {n} Things" for n in numbers], pa.string())
    table = pa.table({"id": pa.array(numbers, pa.int64()), "text": texts})
    pq.write_table(table, path)
    return path


def make_lake(folder: Path, count: int = 4) -> Path:
    for number in range(count):
        write(folder / f"{number}.parquet", 10 * number)
    return folder


def ids(out: Path) -> list[int]:
    return sorted(pq.read_table(out).column("id").to_pylist())


def texts(out: Path) -> dict[int, str]:
    rows = pq.read_table(out, columns=["id", "text"]).to_pylist()
    assert len(rows) == len({row["id"] for row in rows}), "an input is there twice"
    return {row["id"]: row["text"] for row in rows}


def marks(out: Path) -> dict[str, tuple[int, int]]:
    """What changes when a file is written again."""
    return {part.name: (part.stat().st_ino, part.stat().st_mtime_ns) for part in out.iterdir()}


def counts(grown: Grown) -> tuple[int, int, int, int, int]:
    """(new, changed, renamed, unchanged, gone)"""
    found = grown.increment
    return found.new, found.changed, found.renamed, len(found.kept) - found.renamed, len(found.gone)


def test_an_input_is_extracted_from_once(tmp_path):
    lake, out = make_lake(tmp_path / "lake"), tmp_path / "out"
    first = grow(out, lake)
    assert (counts(first), first.texts) == ((4, 0, 0, 0, 0), 12)
    before = marks(out)
    again = grow(out, lake)
    assert (counts(again), again.texts) == ((0, 0, 0, 4, 0), 0)
    write(lake / "later.parquet", 100)
    later = grow(out, lake)
    assert (counts(later), later.texts) == ((1, 0, 0, 4, 0), 3)
    assert {name: mark for name, mark in marks(out).items() if name in before} == before
    assert ids(out) == sorted([*range(3), *range(10, 13), *range(20, 23), *range(30, 33), *range(100, 103)])
    assert {path.name for path in tmp_path.iterdir()} == {"lake", "out", ".out.nerx-manifest.json"}
    assert output_tally(out).rows == 15


def test_rows_come_in_the_order_of_the_inputs_and_then_of_their_coming(tmp_path):
    lake, out = make_lake(tmp_path / "lake"), tmp_path / "out"
    grow(out, lake)
    write(lake / "0-later.parquet", 100)
    grow(out, lake)
    assert pq.read_table(out).column("id").to_pylist()[::3] == [0, 10, 20, 30, 100]


def test_a_changed_input_takes_the_place_of_its_old_rows(tmp_path):
    lake, out = make_lake(tmp_path / "lake"), tmp_path / "out"
    grow(out, lake)
    before = marks(out)
    write(lake / "1.parquet", 10, count=5, word="Bob")
    changed = grow(out, lake)
    assert (counts(changed), changed.texts) == ((0, 1, 0, 3, 0), 5)
    assert [text for n, text in texts(out).items() if n // 10 == 1] == [f"Bob has {n} Things" for n in range(10, 15)]
    assert [name for name, mark in marks(out).items() if before[name] != mark] == ["part-00001.parquet"]


def test_touched_renamed_and_swapped_inputs_are_known_by_their_content(tmp_path):
    lake, out = make_lake(tmp_path / "lake"), tmp_path / "out"
    grow(out, lake)
    before = marks(out)
    os.utime(lake / "0.parquet")
    (lake / "1.parquet").rename(lake / "new name.parquet")
    (lake / "2.parquet").rename(lake / "x")
    (lake / "3.parquet").rename(lake / "2.parquet")
    (lake / "x").rename(lake / "3.parquet")
    moved = grow(out, lake)
    assert (counts(moved), moved.texts) == ((0, 0, 3, 1, 0), 0)
    assert marks(out) == before
    assert counts(grow(out, lake)) == (0, 0, 0, 4, 0)
    noted = {Path(part["input"]["path"]).name for part in json.loads(manifest_file(out).read_text())["parts"]}
    assert noted == {path.name for path in lake.iterdir()}


def test_a_name_that_was_taken_over_is_a_new_input(tmp_path):
    lake, out = make_lake(tmp_path / "lake"), tmp_path / "out"
    grow(out, lake)
    (lake / "1.parquet").rename(lake / "1.old.parquet")
    write(lake / "1.parquet", 50)
    assert counts(grow(out, lake)) == (1, 0, 1, 3, 0)
    assert ids(out) == sorted([*range(3), *range(10, 13), *range(20, 23), *range(30, 33), *range(50, 53)])
    manifest_file(out).unlink()
    assert counts(grow(out, lake)) in {(0, 0, 1, 4, 0), (0, 0, 0, 5, 0)}


def test_a_copy_of_an_input_is_an_input(tmp_path):
    lake, out = make_lake(tmp_path / "lake", 2), tmp_path / "out"
    grow(out, lake)
    shutil.copy(lake / "0.parquet", lake / "copy a.parquet")
    shutil.copy(lake / "0.parquet", lake / "copy b.parquet")
    assert counts(grow(out, lake)) == (2, 0, 0, 2, 0)
    assert ids(out) == sorted([0, 1, 2] * 3 + [10, 11, 12])


def test_an_input_of_equal_size_and_time_is_not_trusted_while_it_is_young(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "CLOCK_NS", 2_000_000_000)
    lake, out = tmp_path / "lake", tmp_path / "out"
    lake.mkdir()
    (lake / "a.txt").write_text("Ada\n")
    grow(out, lake)
    state = (lake / "a.txt").stat()
    (lake / "a.txt").write_text("Bob\n")
    os.utime(lake / "a.txt", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert counts(grow(out, lake)) == (0, 1, 0, 0, 0)
    assert pq.read_table(out).column("text").to_pylist() == ["Bob"]


def test_rows_of_inputs_that_are_gone_stay_until_they_are_pruned(tmp_path):
    lake, out = make_lake(tmp_path / "lake"), tmp_path / "out"
    grow(out, lake)
    (lake / "2.parquet").unlink()
    kept = grow(out, lake)
    assert (counts(kept), [Path(part.input.path).name for part in kept.increment.gone]) == (
        (0, 0, 0, 3, 1),
        ["2.parquet"],
    )
    assert 20 in ids(out)
    assert counts(grow(out, lake, prune=True)) == (0, 0, 0, 3, 1)
    assert 20 not in ids(out)
    assert counts(grow(out, lake)) == (0, 0, 0, 3, 0)
    write(lake / "2.parquet", 20)
    assert counts(grow(out, lake)) == (1, 0, 0, 3, 0)


@pytest.mark.parametrize("damage", ["missing", "broken", "of other parts", "other times"])
def test_the_manifest_is_made_again_from_the_parts(tmp_path, damage):
    lake, out = make_lake(tmp_path / "lake"), tmp_path / "out"
    grow(out, lake)
    before, index = marks(out), manifest_file(out)
    if damage == "missing":
        index.unlink()
    elif damage == "broken":
        index.write_text(index.read_text()[:-50])
    elif damage == "of other parts":
        index.write_text(index.read_text().replace("part-0000", "part-0001"))
    else:
        for part in out.iterdir():
            os.utime(part)
        before = marks(out)
    again = grow(out, lake)
    assert (counts(again), again.texts, marks(out)) == ((0, 0, 0, 4, 0), 0, before)
    assert counts(grow(out, lake)) == (0, 0, 0, 4, 0)


def test_a_part_that_was_removed_is_made_again(tmp_path):
    lake, out = make_lake(tmp_path / "lake"), tmp_path / "out"
    grow(out, lake)
    (out / "part-00002.parquet").unlink()
    assert counts(grow(out, lake)) == (1, 0, 0, 3, 0)
    assert ids(out)[::3] == [0, 10, 20, 30]


def test_a_part_whose_failed_rows_were_retried_is_still_known(tmp_path):
    lake, out = make_lake(tmp_path / "lake"), tmp_path / "out"
    write(lake / "1.parquet", 10, word=POISON)
    grow(out, lake)
    before = marks(out)
    with FailedRows(out) as failed:
        assert failed.retry(Recovered()).recovered == 3
    assert [name for name, mark in marks(out).items() if before[name] != mark] == ["part-00001.parquet"]
    again = grow(out, lake)
    assert (counts(again), again.texts) == ((0, 0, 0, 4, 0), 0)
    assert pq.read_table(out).column("nerx_error").null_count == 12


def test_readers_see_the_folder_as_a_dataset(tmp_path):
    lake, out = make_lake(tmp_path / "lake"), tmp_path / "out"
    grow(out, lake)
    assert pl.scan_parquet(out).select(pl.len()).collect().item() == 12
    assert ds.dataset(out).count_rows() == 12
    assert pq.read_table(out).num_rows == 12


# What may not be mixed


def test_another_adapter_option_or_column_is_named(tmp_path):
    lake, out = make_lake(tmp_path / "lake"), tmp_path / "out"
    grow(out, lake)
    with pytest.raises(OutputError, match=r"made differently \(adapter: 00000000 -> 11111111\).*--overwrite"):
        grow(out, lake, Capitals("1" * 32))
    with pytest.raises(OutputError, match=r"options min score: 0.0 -> 0.5"):
        grow(out, lake, min_score=0.5)
    with pytest.raises(OutputError, match=r"text column: text -> body"):
        grow(out, lake, text_column="body")
    grow(out, lake, text_column="text")
    manifest_file(out).unlink()
    with pytest.raises(OutputError, match="adapter: 00000000 -> 11111111"):
        grow(out, lake, Capitals("1" * 32))


def test_overwrite_extracts_all_anew_and_replaces_the_folder_at_the_end(tmp_path):
    lake, out = make_lake(tmp_path / "lake"), tmp_path / "out"
    grow(out, lake)
    (lake / "3.parquet").unlink()
    before = marks(out)
    answers = iter([False, False, True])
    stopped = grow(out, lake, Capitals("1" * 32), overwrite=True, stop=lambda: next(answers), batch_rows=3)
    assert stopped.interrupted
    assert marks(out) == before
    again = grow(out, lake, Capitals("1" * 32), overwrite=True, batch_rows=3)
    assert (counts(again), again.texts) == ((1, 0, 0, 2, 0), 3)
    assert ids(out)[::3] == [0, 10, 20]
    assert pq.read_schema(out / "part-00000.parquet").metadata[b"nerx.adapter"] == b"1" * 32
    assert grow(out, lake, Capitals("1" * 32)).texts == 0
    assert {path.name for path in tmp_path.iterdir()} == {"lake", "out", ".out.nerx-manifest.json"}


def test_a_folder_that_was_not_made_incrementally_is_refused(tmp_path):
    lake, out = make_lake(tmp_path / "lake"), tmp_path / "out"
    out.mkdir()
    shutil.copy(lake / "0.parquet", out / "part-00000.parquet")
    with pytest.raises(OutputError, match=r"part-00000\.parquet: was not made with --incremental"):
        grow(out, lake)
    (out / "part-00000.parquet").unlink()
    (out / "notes.txt").write_text("x")
    with pytest.raises(OutputError, match=r"holds 'notes\.txt', which nerx did not write"):
        grow(out, lake)
    with pytest.raises(OutputError, match="--incremental needs a folder"):
        grow(tmp_path / "out.parquet", lake)
    with pytest.raises(OutputError, match=r"holds .0\.parquet., which nerx did not write"):
        grow(lake, lake)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"id": [1], "text": ["a"], "more": [1]}), "has 'more' besides"),
        (pa.table({"text": ["a"]}), "lacks 'id'"),
        (pa.table({"id": ["1"], "text": ["a"]}), "column 'id' is string, not int64"),
    ],
)
def test_new_inputs_have_the_columns_of_the_output(tmp_path, table, message):
    lake, out = make_lake(tmp_path / "lake"), tmp_path / "out"
    grow(out, lake)
    pq.write_table(table, lake / "new.parquet")
    with pytest.raises(CorpusError, match=f"new.parquet: {message}; all files must have the columns of the output"):
        grow(out, lake)


def test_a_growing_folder_of_lines_keeps_its_types(tmp_path):
    lake, out = tmp_path / "lake", tmp_path / "out"
    lake.mkdir()
    (lake / "1.jsonl").write_text('{"text": "Ada", "n": 1.5}\n')
    grow(out, lake)
    (lake / "2.jsonl").write_text('{"text": "Bob", "n": 2}\n{"text": "Eve"}\n')
    grow(out, lake)
    assert pq.read_table(out).column("n").to_pylist() == [1.5, 2.0, None]
    (lake / "3.jsonl").write_text('{"text": "Bob", "n": "two"}\n')
    with pytest.raises(CorpusError, match=r"3\.jsonl: "):
        grow(out, lake)


def test_inputs_without_rows_are_done_once(tmp_path):
    lake, out = make_lake(tmp_path / "lake", 1), tmp_path / "out"
    write(lake / "empty.parquet", 0, count=0)
    assert counts(grow(out, lake)) == (2, 0, 0, 0, 0)
    assert counts(grow(out, lake)) == (0, 0, 0, 2, 0)
    assert ids(out) == [0, 1, 2]


def test_a_second_writer_is_told_to_try_later(tmp_path):
    lake, out = make_lake(tmp_path / "lake"), tmp_path / "out"
    with OutputLock(lock_file(out), out), pytest.raises(OutputLockedError):
        grow(out, lake)
    assert grow(out, lake).texts == 12


# Interrupted


def test_a_stopped_run_publishes_whole_inputs_and_keeps_halves(tmp_path):
    lake, out = tmp_path / "lake", tmp_path / "out"
    for number in range(3):
        write(lake / f"{number}.parquet", 100 * number, count=40)
    answers = iter([False] * 6 + [True])
    stopped = grow(out, lake, stop=lambda: next(answers), batch_rows=10, shard_rows=20)
    assert (stopped.interrupted, stopped.texts) == (True, 60)
    assert ids(out) == list(range(40))
    write(lake / "new.parquet", 1000, count=40)  # a run that goes on sees the lake as it is now
    again = grow(out, lake, batch_rows=10, shard_rows=20)
    assert (counts(again), again.texts) == ((3, 0, 0, 1, 0), 100)
    assert ids(out) == [*range(40), *range(100, 140), *range(200, 240), *range(1000, 1040)]
    assert {path.name for path in tmp_path.iterdir()} == {"lake", "out", ".out.nerx-manifest.json"}


def prepare(folder: Path) -> tuple[Path, Path]:
    """A lake that has changed in every way since its output was made."""
    lake, out = make_lake(folder / "lake", 4), folder / "out"
    grow(out, lake)
    write(lake / "1.parquet", 10, word="Bob")
    (lake / "2.parquet").rename(lake / "moved.parquet")
    (lake / "3.parquet").unlink()
    write(lake / "new.parquet", 50, count=10)
    return lake, out


def check_readable(out: Path, old: dict[int, str], new: dict[int, str]) -> None:
    """Each input's rows are there whole, once, as they were or as they are now."""
    seen = texts(out)
    for first in range(0, 60, 10):
        rows = {n: text for n, text in seen.items() if n // 10 == first // 10}
        assert rows in ({n: t for n, t in side.items() if n // 10 == first // 10} for side in (old, new))


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_killed_before_any_single_step_is_completed_by_the_next(tmp_path, overwrite):
    lake, out = prepare(tmp_path / "work")
    shutil.copytree(tmp_path / "work", tmp_path / "prepared")
    old = texts(out)
    adapter = "1" * 32 if overwrite else "0" * 32
    run: Callable[..., object] = lambda out, lake: grow(  # noqa: E731
        out, lake, Capitals(adapter), overwrite=overwrite, prune=True, batch_rows=5, shard_rows=8, checkpoint_seconds=0
    )
    run(out, lake)
    new = texts(out)
    assert len(new) == 3 + 3 + 3 + 10
    step, killed = 0, True
    while killed:
        step += 1
        shutil.rmtree(tmp_path / "work")
        shutil.copytree(tmp_path / "prepared", tmp_path / "work")  # to the same place, with the same times
        killed = killed_at(step, lambda out=out, lake=lake: run(out, lake))
        if out.exists() or not overwrite:
            check_readable(out, old, new)
        if killed:
            run(out, lake)
        assert texts(out) == new
        names = {path.name for path in out.parent.iterdir()}
        assert names == {"lake", "out", ".out.nerx-manifest.json"}
        assert grow(out, lake, Capitals(adapter)).texts == 0
    assert step > 30


def test_a_lake_that_changes_between_kills_comes_out_equal_to_an_undisturbed_run(tmp_path):
    lake, out = tmp_path / "lake", tmp_path / "out"
    draw = random.Random(7)
    for number in range(6):
        write(lake / f"{number}.parquet", 1000 * number, count=150)
    kills = 0
    for version in range(10):
        command = [sys.executable, HERE / "grown.py", out, lake]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n", process.stderr.read()
            try:
                process.wait(timeout=draw.uniform(0.02, 0.6))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                kills += 1
        if out.exists():
            texts(out)
        if version % 3 == 2:
            write(lake / "0.parquet", 0, count=100 + version, word=f"V{version}")
            write(lake / f"new {version}.parquet", 100_000 * version, count=90)
            (lake / f"{version // 3 + 1}.parquet").rename(lake / f"moved {version}.parquet")
    assert kills >= 3
    grow(out, lake)
    grow(tmp_path / "undisturbed", lake)
    one, two = (pq.read_table(path).sort_by("id") for path in (out, tmp_path / "undisturbed"))
    assert one.equals(two)
    assert len(texts(out)) == one.num_rows
    assert grow(out, lake).texts == 0
