"""Outputs and unfinished runs of an earlier nerx (tests/data, made by make.py there) are taken up as they are."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import Nerx

from nerx.engine.writing.output import open_output

DATA = Path(__file__).parent / "data"
VERSION = "0.1.0"
"""Of the nerx that made them: a run goes on only with the version that began it."""

ROWS = 700


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the files, as the current folder: paths are noted as they were given."""
    shutil.copytree(DATA, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nerx.engine.run.extract.__version__", VERSION)
    return tmp_path


def extract(nerx: Nerx, *arguments: str) -> dict[str, Any]:
    done = nerx("extract", *arguments, "--adapter", "adapter", "--device", "cpu", "--json")
    assert done.code == 0, done.err
    result: dict[str, Any] = json.loads(done.out)
    return result


def facts(path: Path) -> dict[bytes, bytes]:
    """What a file says of its run; its counts aside."""
    metadata = pq.read_metadata(path).metadata
    return {name: value for name, value in metadata.items() if name.startswith(b"nerx.") and name != b"nerx.tally"}


def read(path: Path) -> pa.Table:
    """One file, without columns that names of folders may add."""
    return pq.ParquetFile(path).read()


def hidden(place: Path) -> set[str]:
    return {path.name for path in place.glob(".*")}


def test_a_run_that_was_stopped_goes_on(nerx: Nerx, place: Path) -> None:
    (piece,) = (place / ".stopped.parquet.nerx-partial").glob("part-*")
    before, said = read(piece), facts(piece)
    result = extract(nerx, "corpus.jsonl", "--out", "stopped.parquet")
    assert (result["rows"], result["resumed_rows"]) == (ROWS, before.num_rows) == (ROWS, 256)
    after = read(place / "stopped.parquet")
    assert after.slice(0, before.num_rows).equals(before)
    assert facts(place / "stopped.parquet") == said
    assert ".stopped.parquet.nerx-partial" not in hidden(place)
    extract(nerx, "corpus.jsonl", "--out", "whole.parquet")
    whole = read(place / "whole.parquet")
    assert after.slice(before.num_rows).equals(whole.slice(before.num_rows))
    assert facts(place / "whole.parquet") == said


def test_a_share_that_was_stopped_goes_on(nerx: Nerx, place: Path) -> None:
    (piece,) = (place / ".shared-1-of-2.nerx-partial").glob("part-*")
    before, said = read(piece), facts(piece)
    shares = [extract(nerx, "corpus.jsonl", "--out", "shared", "--shard", f"{index}/2") for index in (1, 2)]
    assert [share["resumed_rows"] for share in shares] == [before.num_rows, 0] == [88, 0]
    parts = sorted((place / "shared").iterdir())
    assert read(parts[0]).equals(before)
    assert all(facts(part) == said for part in parts)
    assert pa.concat_tables(map(read, parts)).column("id").to_pylist() == list(range(ROWS))
    assert hidden(place) == hidden(DATA) - {".shared-1-of-2.nerx-partial"}


def test_an_output_grows_and_its_unfinished_input_goes_on(nerx: Nerx, place: Path) -> None:
    parts = {part.name: part.read_bytes() for part in (place / "grown").iterdir()}
    (piece,) = (place / ".grown.nerx-growing").glob("*/part-*")
    before, said = read(piece), facts(piece)
    result = extract(nerx, "lake", "--out", "grown", "--incremental")
    # The inputs lie in another folder now, which makes them renamed ones.
    assert result["inputs"] == {
        "new": 1, "changed": 0, "renamed": 2, "unchanged": 0, "gone": [], "gone_rows": "kept"
    }  # fmt: skip
    assert (result["rows"], result["resumed_rows"]) == (ROWS, before.num_rows) == (ROWS, 256)
    assert {name: (place / "grown" / name).read_bytes() for name in parts} == parts
    added = place / "grown" / "part-00002.parquet"
    assert read(added).slice(0, before.num_rows).equals(before)
    assert read(added).column("id").to_pylist() == list(range(100, 100 + ROWS))
    # `nerx.input` and the digest of all inputs hold paths.
    assert {**facts(added), b"nerx.input": b"", b"nerx.input_digest": b""} == {
        **said, b"nerx.input": b"", b"nerx.input_digest": b""
    }  # fmt: skip
    assert json.loads(facts(added)[b"nerx.input"])["digest"] == json.loads(said[b"nerx.input"])["digest"]
    assert ".grown.nerx-growing" not in hidden(place)
    noted = json.loads((place / ".grown.nerx-manifest.json").read_text())
    assert noted["facts"] == json.loads((DATA / ".grown.nerx-manifest.json").read_text())["facts"]
    again = extract(nerx, "lake", "--out", "grown", "--incremental")
    assert (again["rows"], again["inputs"]["unchanged"]) == (0, 3)


def test_an_output_that_was_finished_grows(nerx: Nerx, place: Path) -> None:
    shutil.rmtree(place / ".grown.nerx-growing")
    (place / "lake" / "c.jsonl").write_text('{"id": 20, "text": "Ada met Bob."}\n')
    result = extract(nerx, "lake", "--out", "grown", "--incremental")
    assert (result["rows"], result["resumed_rows"], result["inputs"]["new"]) == (1, 0, 1)
    assert pq.read_table(place / "grown").column("id").to_pylist() == [0, 1, 2, 10, 11, 12, 20]


def test_an_output_in_a_store_is_built_where_it_was(place: Path) -> None:
    home = open_output("s3://lake/reviews.parquet", place / "work").home
    assert home == place / "work" / "f517c0707459-reviews.parquet"
