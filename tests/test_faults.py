"""What goes wrong at night: full and read-only disks, inputs cut off, two runs at once. Always a rerun completes."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from capitals import POISON, Capitals
from disk import Disk, MountError
from grown import grow
from sinks import open_sink

from nerx.engine.errors import CorpusError, NerxError, OutputError, OutputLockedError
from nerx.engine.reading.corpus import open_corpus
from nerx.engine.run.pipeline import run
from nerx.engine.run.retry import FailedRows
from nerx.engine.share import Share

HERE = Path(__file__).parent


def write(path: Path, count: int, word: str = "Ada") -> Path:
    """Rows of some hundred bytes that do not compress."""
    draw = random.Random(count)
    rows = [f"{word} {draw.randbytes(100).hex()}" for _ in range(count)]
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"id": range(count), "text": rows}), path, row_group_size=500)
    return path


def extract(source: Path, out: Path, extractor: Capitals | None = None, share: Share | None = None) -> None:
    extractor = extractor or Capitals()
    corpus = open_corpus([source], batch_rows=100, shard_rows=1000, share=share)
    run(corpus, extractor, open_sink(out, corpus, extractor))


Way = Callable[..., None]
WAYS: dict[str, tuple[str, Way]] = {
    "file": ("out.parquet", extract),
    "folder": ("out", extract),
    "share": ("out", lambda source, out, extractor=None: extract(source, out, extractor, Share(1, 1))),
    "incremental": (
        "out",
        lambda source, out, extractor=None: grow(out, source.parent, extractor, batch_rows=100, shard_rows=1000),
    ),
}
"""Every way to an output."""
ways = pytest.mark.parametrize(("name", "way"), WAYS.values(), ids=WAYS)


class OptionalDisk(Disk):
    """Skips the test where mounting is not allowed."""

    def mount(self, options: str) -> None:
        try:
            super().mount(options)
        except MountError as error:
            pytest.skip(f"mounting a tmpfs takes root: {error}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = OptionalDisk(tmp_path / "disk")
    try:
        yield disk
    finally:
        disk.unmount()


def equal(out: Path, source: Path, folder: Path) -> bool:
    """Whether `out` is what an undisturbed run over `source` makes."""
    extract(source, folder / "undisturbed.parquet")
    return pq.read_table(out).sort_by("id").equals(pq.read_table(folder / "undisturbed.parquet"))


@ways
def test_a_disk_that_fills_up_is_said_and_a_rerun_with_room_completes(tmp_path, disk, name, way):
    source = write(tmp_path / "lake" / "in.parquet", 12_000)
    disk.mount("size=1m")
    extractor = Capitals()
    with pytest.raises(OutputError) as caught:
        way(source, disk.folder / name, extractor)
    assert caught.value.exit_code == 2
    assert "cannot be written (No space left on device); what is finished is kept in" in str(caught.value)
    assert not (disk.folder / name).exists() or name == "out"
    assert 0 < extractor.texts < 12_000
    with pytest.raises(OutputError, match="No space left on device"):
        way(source, disk.folder / name)
    disk.remount("size=64m")
    again = Capitals()
    way(source, disk.folder / name, again)
    assert 0 < again.texts < 12_000
    assert equal(disk.folder / name, source, tmp_path)


def test_a_disk_that_is_full_at_the_retry_leaves_the_output_as_it_was(tmp_path, disk):
    source = write(tmp_path / "lake" / "in.parquet", 4000, POISON)
    disk.mount("size=2m")
    out = disk.folder / "out.parquet"
    extract(source, out)
    before = out.read_bytes()
    state = os.statvfs(disk.folder)
    (disk.folder / "filler").write_bytes(bytes(state.f_bavail * state.f_frsize - len(before) // 2))
    with FailedRows(out) as failed, pytest.raises(OutputError, match="No space left on device"):
        failed.retry(Capitals())
    assert out.read_bytes() == before
    assert sorted(path.name for path in disk.folder.iterdir()) == ["filler", "out.parquet"]


@ways
def test_a_place_that_cannot_be_written_is_said_before_any_work(tmp_path, disk, name, way):
    source = write(tmp_path / "lake" / "in.parquet", 100)
    disk.mount("size=1m")
    disk.remount("ro")
    extractor = Capitals()
    with pytest.raises(OutputError, match=r"out(\.parquet)?: cannot be written \(Read-only file system\)") as caught:
        way(source, disk.folder / name, extractor)
    assert (caught.value.exit_code, extractor.texts) == (2, 0)
    disk.remount("rw")
    way(source, disk.folder / name)
    assert equal(disk.folder / name, source, tmp_path)


@ways
@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_an_input_cut_off_during_the_run_is_named_and_once_restored_the_run_goes_on(tmp_path, name, way, suffix):
    source = write(tmp_path / "lake" / "in.parquet", 5000)
    if suffix == "jsonl":
        rows = pa.table(pq.read_table(source)).to_pylist()
        source.unlink()
        source = source.with_suffix(".jsonl")
        source.write_text("".join(f'{{"id": {row["id"]}, "text": "{row["text"]}"}}\n' for row in rows))
    shutil.copy2(source, tmp_path / "backup")

    class Truncating(Capitals):
        def extract(self, texts):
            if self.texts >= 2500:
                os.truncate(source, 10_000)
            return super().extract(texts)

    reason = rf"in\.{suffix}: (changed during the run|damaged|cannot be read|no longer)"
    with pytest.raises(CorpusError, match=reason) as caught:
        way(source, tmp_path / name, Truncating())
    assert caught.value.exit_code == 2
    with pytest.raises(NerxError):  # still cut off
        way(source, tmp_path / name)
    shutil.copy2(tmp_path / "backup", source)
    again = Capitals()
    way(source, tmp_path / name, again)
    assert 0 < again.texts <= 4000
    assert equal(tmp_path / name, source, tmp_path)


AT_ONCE = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from capitals import Capitals
from test_faults import WAYS
from nerx.engine.errors import NerxError

class Waiting(Capitals):
    def extract(self, texts):
        while not Path(sys.argv[2], "go on").exists():
            time.sleep(0.005)
        return super().extract(texts)

print("ready", flush=True)
for line in sys.stdin:
    out, way = line.split()
    try:
        WAYS[way][1](Path(sys.argv[2], "lake", "in.parquet"), Path(out), Waiting())
        print(0, flush=True)
    except NerxError as error:
        print(error.exit_code, flush=True)
"""


@pytest.mark.parametrize("way", WAYS)
def test_of_two_runs_started_at_once_one_works_and_the_other_ends_with_75(tmp_path, way):
    """Twenty times. The one that works goes on only when the other has given up."""
    source = write(tmp_path / "lake" / "in.parquet", 50)
    command = [sys.executable, "-c", AT_ONCE, str(HERE), str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    with subprocess.Popen(command, **pipes) as one, subprocess.Popen(command, **pipes) as two:
        processes = (one, two)
        try:
            assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
            for round_number in range(20):
                out = tmp_path / f"{round_number}-{WAYS[way][0]}"
                began = time.monotonic()
                for process in processes[:: 1 if round_number % 2 else -1]:
                    process.stdin.write(f"{out} {way}\n")
                loser = _first_answer(processes)
                assert loser.stdout.readline() == "75\n"
                assert time.monotonic() - began < 10
                (tmp_path / "go on").touch()
                winner = two if loser is one else one
                assert winner.stdout.readline() == "0\n"
                (tmp_path / "go on").unlink()
                assert pq.read_table(out).num_rows == 50
        finally:
            for process in processes:
                process.kill()
    assert equal(out, source, tmp_path)


def _first_answer(processes: tuple[subprocess.Popen[str], ...]) -> subprocess.Popen[str]:
    import select

    ready, _, _ = select.select([process.stdout for process in processes], [], [], 60)
    assert ready, "both runs work on one output"
    return next(process for process in processes if process.stdout in ready)


@ways
def test_the_lock_of_a_killed_run_holds_nobody_up(tmp_path, name, way):
    source = write(tmp_path / "lake" / "in.parquet", 50)
    key = next(key for key, value in WAYS.items() if value[1] is way)
    command = [sys.executable, "-c", AT_ONCE, str(HERE), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        process.stdout.readline()
        process.stdin.write(f"{tmp_path / name} {key}\n")
        while not list(tmp_path.glob(".*nerx-lock")):
            time.sleep(0.01)
        time.sleep(0.5)  # the file is made a moment before it is locked
        with pytest.raises(OutputLockedError):
            way(source, tmp_path / name)
        process.kill()
    assert list(tmp_path.glob(".*nerx-lock"))
    way(source, tmp_path / name)
    assert equal(tmp_path / name, source, tmp_path)
    assert not list(tmp_path.glob(".*nerx-lock"))
