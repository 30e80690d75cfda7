"""Shares of one run: disjoint, complete, and written to one folder by processes that know nothing of each other."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from capitals import Capitals
from hypothesis import given
from hypothesis import strategies as st
from killing import killed_at
from sinks import open_sink

from nerx.engine.errors import InputError, OutputError, OutputLockedError
from nerx.engine.reading.corpus import open_corpus
from nerx.engine.run.pipeline import run
from nerx.engine.run.summary import RunSummary
from nerx.engine.share import Share
from nerx.engine.writing.output import require_free
from nerx.engine.writing.shared import SharedFolder
from nerx.engine.writing.sink import Sink

HERE = Path(__file__).parent


def write(path: Path, count: int, row_group_size: int = 100) -> Path:
    table = pa.table({"id": range(count), "text": [f"Row {n} Here" for n in range(count)]})
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


def extract(source: Path, out: Path, share: str | None, extractor=None, *, overwrite=False, **options) -> RunSummary:
    extractor = extractor or Capitals()
    corpus = open_corpus([source], batch_rows=10, share=Share.parse(share) if share else None, **options)
    return run(corpus, extractor, open_sink(out, corpus, extractor, overwrite=overwrite))


@given(st.integers(1, 12), st.integers(0, 200))
def test_each_shard_is_taken_once(count, shard):
    assert sum(Share(index, count).takes(shard) for index in range(1, count + 1)) == 1


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "a/b", "-1/4", "1/4/2", ""])
def test_what_is_no_share(text):
    with pytest.raises(InputError, match="--shard"):
        Share.parse(text)


@pytest.mark.parametrize(("rows", "count"), [(1000, 4), (10, 3), (2, 4), (0, 2), (5000, 1)])
def test_shares_together_are_the_whole(tmp_path, rows, count):
    source, out = write(tmp_path / "in.parquet", rows), tmp_path / "out"
    sizes = [extract(source, out, f"{index}/{count}").rows for index in range(count, 0, -1)]
    assert sum(sizes) == rows
    if rows >= 1000:
        assert max(sizes) <= 1.3 * min(sizes)
    extract(source, tmp_path / "whole.parquet", None)
    if rows:
        assert pq.read_table(out).equals(pq.read_table(tmp_path / "whole.parquet"))
    assert {path.name for path in tmp_path.iterdir()} == {"in.parquet", "whole.parquet", "out"}


def test_the_folder_is_the_one_that_a_single_run_makes(tmp_path):
    source = write(tmp_path / "in.parquet", 1000)
    extract(source, tmp_path / "single", None, shard_rows=100)
    for index in (1, 2):
        extract(source, tmp_path / "shared", f"{index}/2", shard_rows=100)
    names = [path.name for path in sorted((tmp_path / "single").iterdir())]
    assert names == [path.name for path in sorted((tmp_path / "shared").iterdir())]
    for name in names:
        one, two = (pq.read_table(tmp_path / folder / name) for folder in ("single", "shared"))
        assert one.equals(two)


PROCESS = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from grown import Slow
from sinks import open_sink
from nerx.engine.reading.corpus import open_corpus
from nerx.engine.run.pipeline import run
from nerx.engine.share import Share
corpus = open_corpus([sys.argv[2]], batch_rows=10, shard_rows=50, share=Share.parse(sys.argv[4]))
run(corpus, Slow(), open_sink(Path(sys.argv[3]), corpus, Slow()))
"""


def test_processes_started_at_once_fill_one_folder(tmp_path):
    source, out = write(tmp_path / "in.parquet", 2000), tmp_path / "out"
    command = [sys.executable, "-c", PROCESS, HERE, source, out]
    processes = [subprocess.Popen([*command, f"{index}/4"], stderr=subprocess.PIPE) for index in range(1, 5)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert pq.read_table(out).column("id").to_pylist() == list(range(2000))
    assert len(list(out.iterdir())) == 40


def test_a_share_killed_before_any_single_step_is_completed_by_the_next_run(tmp_path):
    source = write(tmp_path / "in.parquet", 60)
    step, killed = 0, True
    while killed:
        step += 1
        out = tmp_path / str(step) / "out"
        out.parent.mkdir()
        extract(source, out, "2/2", shard_rows=10)
        killed = killed_at(step, lambda out=out: extract(source, out, "1/2", shard_rows=10))
        if killed:
            extract(source, out, "1/2", shard_rows=10)
        assert pq.read_table(out).column("id").to_pylist() == list(range(60))
        assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert step > 8


def test_a_share_that_is_done_is_not_done_again_unless_asked(tmp_path):
    source, out = write(tmp_path / "in.parquet", 100), tmp_path / "out"
    extract(source, out, "1/2")
    with pytest.raises(OutputError, match="has the parts of shard 1/2 already; use --overwrite"):
        extract(source, out, "1/2")
    extract(source, out, "2/2")
    assert extract(source, out, "1/2", overwrite=True).resumed_rows == 0
    assert pq.read_table(out).num_rows == 100


def test_shares_of_different_runs_do_not_mix(tmp_path):
    source, out = write(tmp_path / "in.parquet", 100), tmp_path / "out"
    extract(source, out, "1/2")
    with pytest.raises(
        OutputError, match=r"part-0.*differs \(adapter: 00000000 -> 11111111\); use --overwrite on every"
    ):
        extract(source, out, "2/2", Capitals("1" * 32))
    with pytest.raises(OutputError, match="input: other files, or cut into other shards"):
        extract(write(tmp_path / "other.parquet", 90), out, "2/2")
    for index in (1, 2):
        extract(write(tmp_path / "small.parquet", 5), out, f"{index}/2", Capitals("1" * 32), overwrite=True)
    assert pq.read_table(out).column("id").to_pylist() == list(range(5))


def test_a_share_needs_a_folder_and_has_a_lock_of_its_own(tmp_path):
    source, out = write(tmp_path / "in.parquet", 100), tmp_path / "out"
    with pytest.raises(OutputError, match="with --shard the output is a folder"):
        extract(source, tmp_path / "out.parquet", "1/2")
    one, two = (open_corpus([source], share=Share(index, 2)) for index in (1, 2))
    with open_sink(out, one, Capitals()), open_sink(out, two, Capitals()):
        with pytest.raises(OutputLockedError), open_sink(out, one, Capitals()):
            pass
        with pytest.raises(OutputLockedError):
            require_free(SharedFolder(out, Share(1, 2)))
    require_free(SharedFolder(out, Share(1, 2)))
    assert isinstance(open_sink(tmp_path / "plain", open_corpus([source]), Capitals()), Sink)
