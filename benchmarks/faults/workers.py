"""`--backend ray` with two workers against one local process with two threads, on the same two cores.

Through an adapter of the embedded base, on the freight example's texts, numbered so that each is another one.
"""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from ..lab.places import FREIGHT
from .scene import NERX, ended, extract, require_done, started

FILES = 8
"""Each is a shard."""
SAMPLE_SECONDS = 0.25

RUNS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "local": ((), {"OMP_NUM_THREADS": "2"}),
    "ray": (("--backend", "ray", "--workers", "2"), {}),
}
"""Name -> options and environment. Ray gives each worker one thread by itself."""


@dataclass(frozen=True, slots=True)
class Pace:
    """`seconds` of the whole command; `peak_mib`: most memory of all its processes together, shared pages once."""

    seconds: float
    rows_a_second: float
    peak_mib: float


def compare_backends(work: Path, rows: int, repeats: int) -> dict[str, Any]:
    """In turn, `repeats` times; the best of each counts. Outputs must have the same rows and spans."""
    adapter, lake = work / "freight", work / "freight-lake"
    words = ("fit", FREIGHT / "seeds.jsonl", "--budget", "quick", "--out", adapter, "--device", "cpu", "--quiet")
    require_done(extract([*NERX, *map(str, words)]))
    _write_lake(lake, rows)
    found: dict[str, list[Pace]] = {name: [] for name in RUNS}
    for _ in range(repeats):
        for name, (options, environment) in RUNS.items():
            out = work / f"{name}.parquet"
            shutil.rmtree(out, ignore_errors=True)
            out.unlink(missing_ok=True)
            words = ["extract", lake, "--adapter", adapter, "--out", out, "--device", "cpu", "--json", *options]
            found[name].append(_measure([*NERX, *map(str, words)], environment, rows))
    best = {name: max(paces, key=lambda pace: pace.rows_a_second) for name, paces in found.items()}
    return {
        "rows": rows,
        "repeats": repeats,
        **{f"{name}_rows_a_second": pace.rows_a_second for name, pace in best.items()},
        "ray_over_local": round(best["ray"].rows_a_second / best["local"].rows_a_second, 3),
        **{f"{name}_peak_mib": max(pace.peak_mib for pace in paces) for name, paces in found.items()},
        "all": {name: [pace.rows_a_second for pace in paces] for name, paces in found.items()},
        "same_spans": _spans(work / "local.parquet") == _spans(work / "ray.parquet"),
    }


def _write_lake(lake: Path, rows: int) -> None:
    lake.mkdir()
    texts = [text for text in pq.read_table(FREIGHT / "corpus.parquet").column("text").to_pylist() if text]
    for file in range(FILES):
        numbers = range(file * rows // FILES, (file + 1) * rows // FILES)
        numbered = [f"{number} {texts[number % len(texts)]}" for number in numbers]
        pq.write_table(pa.table({"text": numbered}), lake / f"{file}.parquet")


def _measure(command: list[str], environment: dict[str, str], rows: int) -> Pace:
    began, peak = time.monotonic(), 0.0
    with started(command, environment) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, _proportional_mib(watched))
            time.sleep(SAMPLE_SECONDS)
        seconds = time.monotonic() - began
        require_done(ended(process))
    return Pace(round(seconds, 1), round(rows / seconds, 1), round(peak))


def _proportional_mib(process: psutil.Process) -> float:
    """Proportional set size of a process and all below it: a page that n of them share counts 1/n in each."""
    total = 0
    try:
        members: Sequence[psutil.Process] = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    for member in members:
        try:
            total += member.memory_full_info().pss
        except psutil.Error:  # it has just ended
            continue
    return total / 2**20


def _spans(path: Path) -> list[list[tuple[int, int, str]]]:
    rows = pq.read_table(path).column("entities").to_pylist()
    return [[(entity["start"], entity["end"], entity["label"]) for entity in row or ()] for row in rows]
