"""What every trouble happens to: a lake of wide rows, a tiny adapter, the real command, and what it makes undisturbed.

The rows are wide, mostly bytes that do not compress, so that writing and assembling take their share of a run.
"""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..lab.tiny import NERX, make_adapter, text_of

ROW_BYTES = 40_000
"""Of the payload of one row."""

WAYS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "file": ("out.parquet", ()),
    "folder": ("out", ()),
    "share": ("out", ("--shard", "1/1")),
    "incremental": ("out", ("--incremental",)),
}
"""Way to an output -> its name, and the options that ask for it."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: `said` is its last line on stderr, `result` what `--json` printed."""

    code: int
    said: str
    result: Mapping[str, Any]

    def with_paths_from(self, folder: Path) -> str:
        """`said`, without the temporary folder's name."""
        return self.said.replace(f"{folder}{os.sep}", "")


@dataclass(frozen=True, slots=True)
class Scene:
    """`lake` is a folder of `files` Parquet files with `rows` rows together, `whole` an undisturbed run's output."""

    work: Path
    adapter: Path
    lake: Path
    whole: Path
    files: int
    rows: int

    @classmethod
    def make(cls, work: Path, *, files: int, rows_a_file: int) -> "Scene":
        scene = cls(work, make_adapter(work), work / "lake", work / "whole.parquet", files, files * rows_a_file)
        scene.lake.mkdir()
        for number in range(files):
            write_rows(scene.lake / f"{number:03d}.parquet", range(number * rows_a_file, (number + 1) * rows_a_file))
        require_done(extract(scene.command(scene.whole)))
        return scene

    def command(self, out: object, *more: str, source: object = None, way: str = "file") -> list[str]:
        """The words of `nerx extract`, from the lake to `out`."""
        words = ("extract", source or self.lake, "--adapter", self.adapter, "--out", out, "--device", "cpu", "--json")
        return [*NERX, *map(str, words), *WAYS[way][1], *more]


@contextmanager
def started(command: list[str], environment: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """The command as a process group of its own, which does not outlive the block."""
    with subprocess.Popen(
        command,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            kill(process)


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL to the whole process group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def extract(command: list[str], environment: Mapping[str, str] | None = None) -> Ended:
    """Run it to its end."""
    with started(command, environment) as process:
        return ended(process)


def ended(process: subprocess.Popen[str]) -> Ended:
    """Waits for the end of a process."""
    out, err = process.communicate()
    lines = [line for line in err.splitlines() if line.strip()]
    result = json.loads(out) if out.startswith("{") else {}
    return Ended(process.returncode, lines[-1] if lines else "", result)


def require_done(done: Ended) -> Ended:
    if done.code:
        sys.exit(f"nerx extract ended with {done.code}: {done.said}")
    return done


def write_rows(path: Path, numbers: range) -> None:
    """Rows with these ids; every text is another one, some are null."""
    draw = random.Random(numbers.start)
    columns = {
        "id": pa.array(numbers, pa.int64()),
        "text": [None if number % 97 == 0 else _text(number) for number in numbers],
        "tags": [["a", "b"][: number % 3] for number in numbers],
        "payload": [draw.randbytes(ROW_BYTES) for _ in numbers],
    }
    pq.write_table(pa.table(columns), path, compression="zstd")


def _text(number: int) -> str:
    return " ".join(text_of(7 * number + more) for more in range(3))


@dataclass(frozen=True, slots=True)
class Compared:
    """An output beside the undisturbed one: whether all columns of all rows are equal, and what is not there once."""

    equal: bool
    rows_lost: int
    rows_twice: int


def compare(out: pa.Table, whole: pa.Table) -> Compared:
    """Raises nothing: what differs is counted. Outputs of `--incremental` and of the others have the rows in order."""
    ids, wanted = out.column("id").to_pylist(), whole.column("id").to_pylist()
    lost, twice = len(set(wanted) - set(ids)), len(ids) - len(set(ids))
    return Compared(out.equals(whole), lost, twice)
