"""A folder of a thousand inputs that grows: a night without a new file, and one with a single new file.

Whether an input was read is told by its time of access, set back before: a read renews it, where the file system keeps
such times at all. The new file, which has to be read, shows that it does.
"""

import os
import resource
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ..lab.tiny import text_of
from .scene import NERX, Ended, Scene, extract, require_done

OLD = (1_000_000_000, 1_600_000_000)
"""Times of access and of change, seconds; the former is the earlier one, so that a read renews it."""


def grow(scene: Scene, files: int, nights: int) -> dict[str, Any]:
    """Extract from `files` inputs, then `nights` times from nothing new, then from one new input."""
    lake, out = scene.work / "thousand", scene.work / "grown"
    lake.mkdir()
    for number in range(files):
        _write(lake, number)
    command = _command(scene, lake, out)
    first = require_done(extract(command))
    quiet = [_timed([*command, "--noop-code", "9"]) for _ in range(nights)]
    before, seen = _states(out), _accessed(lake)
    new = _write(lake, files)
    added = require_done(extract(command))
    after = _states(out)
    read = {path.name for path, at in _accessed(lake).items() if at != seen.get(path, OLD[0])}
    return {
        "inputs": files,
        "rows": first.result["rows"],
        "noop_exit_codes": sorted({end.code for end, _, _ in quiet}),
        "noop_seconds": [round(seconds, 3) for _, seconds, _ in quiet],
        "noop_cpu_seconds": [round(cpu, 3) for _, _, cpu in quiet],
        "inputs_new": added.result["inputs"]["new"],
        "inputs_unchanged": added.result["inputs"]["unchanged"],
        "inputs_read": len(read) if new.name in read else None,
        "parts_added": len(after.keys() - before.keys()),
        "parts_touched": sum(after.get(name) != state for name, state in before.items()),
        "rows_after": pq.read_table(out).num_rows,
    }


def _write(lake: Path, number: int) -> Path:
    path = lake / f"{number:05d}.txt"
    path.write_text("".join(f"{text_of(3 * number + line)}\n" for line in range(3)), encoding="utf-8")
    os.utime(path, OLD)
    return path


def _command(scene: Scene, lake: Path, out: Path) -> list[str]:
    words = ("extract", lake, "--incremental", "--adapter", scene.adapter, "--out", out, "--device", "cpu", "--json")
    return [*NERX, *map(str, words)]


def _timed(command: list[str]) -> tuple[Ended, float, float]:
    """How it ended, wall seconds, and CPU seconds of the process."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = extract(command)
    after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - began
    return done, seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _states(folder: Path) -> dict[str, tuple[int, int, int]]:
    states = {path.name: path.stat() for path in folder.iterdir()}
    return {name: (state.st_ino, state.st_size, state.st_mtime_ns) for name, state in states.items()}


def _accessed(lake: Path) -> dict[Path, int]:
    return {path: int(path.stat().st_atime) for path in lake.iterdir()}
