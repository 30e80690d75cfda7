"""A file that is there is read, or it is told that it was not: kinds, compression, links, names, and outputs inside."""

import bz2
import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import Nerx

from nerx.engine.reading.corpus import open_corpus
from nerx.engine.reading.listing import list_files

ROWS = 40


def lines(first: int, count: int = ROWS) -> bytes:
    return b"".join(b'{"id": %d, "text": "Ada met Bob in Rome, again."}\n' % n for n in range(first, first + count))


def zstd(*parts: bytes) -> bytes:
    """A frame for each part."""
    return b"".join(pa.compress(part, codec="zstd", asbytes=True) for part in parts)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """One file of 40 rows for every way to compress and to spell a suffix."""
    folder = tmp_path / "lake"
    folder.mkdir()
    made = {
        "a.jsonl": lines(0),
        "b.jsonl.zst": zstd(lines(40, 15), lines(55, 25)),
        "c.jsonl.bz2": bz2.compress(lines(80, 30)) + bz2.compress(lines(110, 10)),
        "d.JSONL": lines(120),
        "e.jsonl.GZ": gzip.compress(lines(160)),
        "f.NDJSON.Zst": zstd(lines(200)),
    }
    for name, content in made.items():
        (folder / name).write_bytes(content)
    return folder


def ids(path: Path) -> list[int]:
    found: list[int] = pq.read_table(path).column("id").to_pylist()
    return found


def test_every_kind_of_compression_and_spelling_is_read(
    nerx: Nerx, lake: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    done = nerx("extract", lake, "--adapter", tiny_adapter, "--out", out, "--json")
    assert done.code == 0, done.err
    assert ids(out) == list(range(240))
    assert "left_out" not in json.loads(done.out)
    dry = nerx("extract", lake, "--adapter", tiny_adapter, "--dry-run", "--json")
    assert json.loads(dry.out)["rows"] == 240


@pytest.mark.parametrize("name", ["b.jsonl.zst", "c.jsonl.bz2"])
@pytest.mark.parametrize("damage", ["cut off", "followed by something else"])
def test_a_damaged_archive_stops_the_run(nerx: Nerx, lake: Path, tiny_adapter: Path, name: str, damage: str) -> None:
    content = (lake / name).read_bytes()
    (lake / name).write_bytes(content[:-9] if damage == "cut off" else content + b"BZh9 and then")
    done = nerx("extract", lake, "--adapter", tiny_adapter)
    assert (done.code, len(done.errors)) == (2, 1)
    assert f"{name}: cannot be read" in done.errors[0]


def test_the_rows_of_a_compressed_file_come_from_any_place(lake: Path) -> None:
    corpus = open_corpus([lake / "b.jsonl.zst"], shard_rows=7, batch_rows=3)
    shards = corpus.shards()
    assert len(shards) > 4
    for shard in reversed(shards):
        found = [n for batch in corpus.batches(shard) for n in batch.column("id").to_pylist()]
        assert found == list(range(40 + shard.cut.first_row, 40 + shard.cut.first_row + shard.rows))


@pytest.mark.parametrize("name", ["b.jsonl.zst", "c.jsonl.bz2", "e.jsonl.GZ"])
def test_a_file_can_be_read_back_and_forth(lake: Path, name: str) -> None:
    (file,) = list_files([lake / name])
    with file.open() as stream:
        whole = stream.read()
        for place in (100, 7, len(whole) - 3, 0):
            assert stream.seek(place) == place == stream.tell()
            assert stream.read(50) == whole[place : place + 50]
        assert stream.seek(len(whole) + 9) >= len(whole)
        assert stream.read() == b""


def test_what_lies_among_the_inputs_and_is_not_read_is_told_once(
    nerx: Nerx, lake: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    (lake / "meta.json").write_text("{}")
    (lake / "sub").mkdir()
    (lake / "sub" / "notes.docx").write_bytes(b"x")
    (tmp_path / "elsewhere").mkdir()
    (lake / "linked").symlink_to(tmp_path / "elsewhere")
    (lake / "_SUCCESS").touch()
    (lake / ".hidden.json").touch()
    report = tmp_path / "report.json"
    told = sorted(str(lake / name) for name in ("meta.json", "linked", "sub/notes.docx"))
    options = ("--adapter", tiny_adapter, "--report", report)
    done = nerx("extract", lake, *options, "--out", tmp_path / "1.parquet", "--json")
    assert sorted(json.loads(done.out)["left_out"]) == sorted(json.loads(report.read_text())["left_out"]) == told
    shown = nerx("extract", lake, *options, "--out", tmp_path / "2.parquet")
    assert shown.out.count("not read") == 1
    assert "3 of another kind" in shown.out
    assert all(name.replace("\n", "") in shown.out.replace("\n", "").replace(" ", "") for name in told)
    grown = nerx("extract", lake, *options, "--out", tmp_path / "grown", "--incremental", "--json")
    assert sorted(json.loads(grown.out)["left_out"]) == told
    again = nerx("extract", lake, *options, "--out", tmp_path / "grown", "--incremental", "--json")
    assert sorted(json.loads(again.out)["left_out"]) == told
    glob = nerx("extract", str(lake / "*"), *options, "--out", tmp_path / "3.parquet", "--json")
    assert sorted(json.loads(glob.out)["left_out"]) == [name for name in told if not name.endswith("linked")]


# Names


def test_a_name_that_is_not_utf8_is_one_clear_line(nerx: Nerx, lake: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9")
    (lake / f"{odd}.jsonl").write_bytes(lines(0))
    in_folder = nerx("extract", lake, "--adapter", tiny_adapter)
    alone = nerx("extract", lake / f"{odd}.jsonl", "--adapter", tiny_adapter, "--out", tmp_path / "o.parquet")
    out = nerx("extract", lake / "a.jsonl", "--adapter", tiny_adapter, "--out", tmp_path / f"{odd}.parquet")
    adapter = nerx("extract", lake / "a.jsonl", "--adapter", tmp_path / odd)
    viewed = nerx("view", tmp_path / f"{odd}.parquet")
    for done in (in_folder, alone, out, adapter, viewed):
        assert (done.code, len(done.errors)) == (2, 1), done.err
        assert r"caf\udce9" in done.errors[0] or odd in done.errors[0]
        assert "is not UTF-8" in done.errors[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lake"]


def test_a_leading_tilde_is_the_home_folder(
    nerx: Nerx, tiny_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    (home / "in.jsonl").write_bytes(lines(0))
    (home / "adapter").symlink_to(tiny_adapter)
    done = nerx("extract", "~/in.jsonl", "--adapter=~/adapter", "--out=~/out.parquet", "--report=~/report.json")
    assert done.code == 0, done.err
    monkeypatch.setenv("NERX_OUT", "~/environment.parquet")
    assert nerx("extract", "~/in.jsonl", "--adapter=~/adapter").code == 0
    monkeypatch.delenv("NERX_OUT")
    (here / "job.toml").write_text('corpus = "~/in.jsonl"\nadapter = "~/adapter"\nout = "~/job.parquet"\n')
    assert nerx("run", here / "job.toml").code == 0
    assert {path.name for path in home.iterdir()} == {
        *("in.jsonl", "adapter", "out.parquet", "report.json", "environment.parquet", "job.parquet")
    }
    assert [path.name for path in here.iterdir()] == ["job.toml"]
    assert nerx("view", "~/out.parquet").code == nerx("inspect", "~/out.parquet").code == 0


def test_brackets_in_names_are_names(nerx: Nerx, lake: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    for out in (tmp_path / "a[bc].parquet", tmp_path / "a[bc]", tmp_path / "[x]" / "[red]y[/red].parquet"):
        done = nerx("extract", lake / "a.jsonl", "--adapter", tiny_adapter, "--out", out)
        assert done.code == 0, done.err
        for command in (("view", out), ("inspect", out), ("inspect", out, "--verify")):
            shown = nerx(*command)
            assert shown.code == 0, shown.err
        assert out.name in "".join(nerx("inspect", out).out.split())
    missing = nerx("view", tmp_path / "no[pe].parquet")
    assert (missing.code, len(missing.errors)) == (2, 1)
    assert "no[pe].parquet: no such file or folder" in missing.errors[0]


# Outputs that would be inputs the next time


@pytest.mark.parametrize("form", ["folder", "glob", "from inside", "link"])
@pytest.mark.parametrize("options", [["--incremental"], []])
def test_an_output_inside_its_input_is_refused_the_first_night(
    nerx: Nerx,
    lake: Path,
    tiny_adapter: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    options: list[str],
) -> None:
    (tmp_path / "link").symlink_to(lake)
    monkeypatch.chdir(lake)
    given = {"folder": lake, "glob": f"{lake}/*", "from inside": ".", "link": tmp_path / "link"}[form]
    done = nerx("extract", given, "--adapter", tiny_adapter, "--out", lake / "enriched", *options)
    assert (done.code, len(done.errors)) == (2, 1)
    assert f"lies in the input {given}" in done.errors[0]
    assert not (lake / "enriched").exists()


def test_an_output_that_no_run_reads_may_lie_inside(nerx: Nerx, lake: Path, tiny_adapter: Path) -> None:
    options = ("--adapter", tiny_adapter, "--json")
    nights = {
        lake: lake / "_enriched",
        f"{lake}/*.jsonl": lake / "enriched",
        lake / "a.jsonl": lake / "more",
    }
    for given, out in nights.items():
        for night in range(2):
            done = nerx("extract", given, "--incremental", "--out", out, *options)
            assert done.code == 0, done.err
            assert (json.loads(done.out)["rows"] == 0) == bool(night)
    assert nerx("extract", lake / "d.JSONL", "--out", lake / "d.nerx.parquet", *options).code == 0


# Arguments that are nearly right


@pytest.mark.parametrize("command", [["extract", "a.jsonl", "--adapter"], ["eval"], ["bench", "a.jsonl", "--adapter"]])
def test_an_adapter_that_is_a_file_is_one_clear_line(
    nerx: Nerx, lake: Path, seed_file: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(lake)
    done = nerx(*command, "d.JSONL", *([seed_file] if command == ["eval"] else []))
    assert (done.code, len(done.errors)) == (2, 1), done.err
    assert "d.JSONL is a file, and an adapter is a folder" in done.errors[0]


def test_a_dotted_text_column_beside_a_struct(nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    texts = ["Ada met Bob.", "In Rome."]
    table = pa.table({"meta": [{"text": "x", "n": 1}, {"text": "y", "n": 2}], "meta.text": texts, "n": [1, 2]})
    pq.write_table(table, tmp_path / "in.parquet")
    options = ("--adapter", tiny_adapter, "--text-column", "meta.text")
    dry = nerx("extract", tmp_path / "in.parquet", *options, "--dry-run", "--json")
    assert (dry.code, json.loads(dry.out)["characters"]) == (0, sum(map(len, texts)))
    timed = nerx("bench", tmp_path / "in.parquet", *options, "--precision", "float32", "--json")
    assert (timed.code, json.loads(timed.out)["texts"]) == (0, 2)
    out = tmp_path / "out.parquet"
    assert nerx("extract", tmp_path / "in.parquet", *options, "--out", out).code == 0
    assert pq.read_table(out).select(table.column_names).equals(table)
    assert nerx("view", out, "--empty").out.count("Ada") == 1
    assert nerx("inspect", out, "--verify").code == 0
