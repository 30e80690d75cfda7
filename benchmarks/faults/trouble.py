"""What goes wrong at night, done to the real `nerx extract` and counted: nothing may be lost, twice, or different.

    python -m benchmarks.faults.trouble                          all of it, about an hour and a half on 2 cores; as root
    python -m benchmarks.faults.trouble --quick                  a few of each, under 10 minutes
    python -m benchmarks.faults.trouble --only workers lake      parts of it, added to what the result file holds

kills      kill -9 of the process group at random moments of full runs, to a file and to a folder, here and on Ray
disks      an output on 64 MiB that fill up, on a read-only disk; an input cut off during the run (mounting takes root)
stores     an S3 server (moto, a process of its own) that fails a fifth of all requests, in each of three ways
pairs      two runs started at once on one output
lake       1,000 inputs, nights with nothing new, one night with one new input
workers    two workers of a Ray cluster against one process with two threads: wants both cores for itself

Can be stopped and started again: what is finished is in the result file and is not done twice. A tiny base with random
weights does the extracting, but for `workers`, which takes the embedded base.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
from ..lab.places import RESULTS, TESTS

sys.path.insert(0, str(TESTS))  # the S3 server and the small disk are those of the tests

import pyarrow.parquet as pq

from ..lab.machine import commit, this_machine
from . import disks, kills, lake, page, pairs, stores, workers
from .scene import WAYS, Scene

RESULT = RESULTS / "faults.json"


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything. `kills`: of each backend, shared by both kinds of output."""

    files: int = 8
    rows_a_file: int = 250
    kills_local: int = 150
    kills_ray: int = 50
    pairs: int = 10
    seeds: int = 3
    inputs: int = 1000
    nights: int = 5
    freight_rows: int = 4000
    repeats: int = 2


QUICK = Size(kills_local=6, kills_ray=2, pairs=1, seeds=1, inputs=100, nights=2, freight_rows=800, repeats=1)


class Ledger:
    """The result file: `cells` by part and name, each with the machine, commit and time it was measured on."""

    def __init__(self, path: Path, start: datetime) -> None:
        self._path = path
        self.cells: dict[str, dict[str, Any]] = json.loads(path.read_text())["parts"] if path.is_file() else {}
        self._where = {"machine": this_machine(("torch", "pyarrow", "ray", "moto")).to_dict(), "commit": commit()}
        self._start = start

    def get(self, part: str, name: str) -> Any:
        """What is known, None at first."""
        return self.cells.get(part, {}).get("counts", {}).get(name)

    def put(self, part: str, name: str, value: Any) -> None:
        """Note it in the file, and on stderr."""
        date = datetime.now(UTC).isoformat(timespec="minutes")
        counts = {**self.cells.get(part, {}).get("counts", {}), name: value}
        self.cells[part] = {**self._where, "date": date, "counts": counts}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"benchmark": "faults", "parts": self.cells}, indent=1) + "\n")
        temporary.replace(self._path)
        self._path.with_suffix(".md").write_text(page.to_page(self.cells))
        minutes = (datetime.now(UTC) - self._start).total_seconds() / 60
        print(f"{minutes:5.1f} min  {part} {name}: {json.dumps(value)}", file=sys.stderr, flush=True)

    def once(self, part: str, name: str, count: Callable[[], Any]) -> None:
        """Count what is not known yet."""
        if self.get(part, name) is None:
            self.put(part, name, count())


def main() -> None:
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that disks are unmounted and folders removed
    size = QUICK if options.quick else Size()
    if options.kills:
        size = replace(size, kills_local=options.kills[0], kills_ray=options.kills[1])
    ledger = Ledger(options.json, datetime.now(UTC))
    for part in options.again:
        ledger.cells.pop(part, None)
    with tempfile.TemporaryDirectory(prefix="nerx-faults-", dir=options.work) as folder:
        work = Path(folder)
        if set(options.only) - {"workers"}:
            scene = Scene.make(work, files=size.files, rows_a_file=size.rows_a_file)
            for part in options.only:
                if part in PARTS:
                    PARTS[part](scene, size, ledger)
        if "workers" in options.only:
            compare = partial(workers.compare_backends, work, size.freight_rows, size.repeats)
            ledger.once("workers", "ray against local", compare)
    print(page.to_page(ledger.cells))


def count_kills(scene: Scene, size: Size, ledger: Ledger) -> None:
    whole = pq.read_table(scene.whole)
    for backend, wanted in (("local", size.kills_local), ("ray", size.kills_ray)):
        for way in ("file", "folder"):
            name = f"{backend}, {way}"
            counts = kills.Kills(**(ledger.get("kills", name) or {}))
            if 2 * counts.kills >= wanted:
                continue
            kills.take_times(scene, backend, way, counts)
            while 2 * counts.kills < wanted:
                kills.until_done(scene, backend, way, counts, whole)
                ledger.put("kills", name, asdict(counts))


def count_disks(scene: Scene, size: Size, ledger: Ledger) -> None:  # noqa: ARG001
    troubles = {"full": disks.full, "read-only": disks.read_only, "input cut off": disks.cut_off}
    for trouble, happen in troubles.items():
        for way in WAYS:
            ledger.once("disks", f"{trouble}, {way}", partial(happen, scene, way))


def count_stores(scene: Scene, size: Size, ledger: Ledger) -> None:
    names = [(way, seed) for way in ("file", "folder") for seed in range(1, size.seeds + 1)]
    if all(ledger.get("stores", f"{way}, seed {seed}") for way, seed in names):
        return
    with stores.store(scene) as there:
        for way, seed in names:
            ledger.once("stores", f"{way}, seed {seed}", partial(stores.failing, scene, there, way, seed))


def count_pairs(scene: Scene, size: Size, ledger: Ledger) -> None:
    for way in WAYS:
        ledger.once("pairs", way, partial(pairs.count, scene, way, size.pairs))


def count_lake(scene: Scene, size: Size, ledger: Ledger) -> None:
    ledger.once("lake", "incremental", partial(lake.grow, scene, size.inputs, size.nights))


PARTS: dict[str, Callable[[Scene, Size, Ledger], None]] = {
    "disks": count_disks,
    "lake": count_lake,
    "stores": count_stores,
    "pairs": count_pairs,
    "kills": count_kills,
}
"""The short ones first. `workers` comes last and needs no scene."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*PARTS, "workers"]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="leave the other parts as they are")
    parser.add_argument("--again", nargs="+", choices=names, default=[], help="forget what is known of these parts")
    parser.add_argument("--quick", action="store_true", help="a few of each, to a file of its own")
    parser.add_argument("--kills", type=int, nargs=2, metavar=("LOCAL", "RAY"), help="so many, in place of 150 and 50")
    parser.add_argument("--work", type=Path, help="a folder for temporary files, 2 GB")
    parser.add_argument("--json", type=Path, metavar="FILE", help="result, with a .md beside it; default: in results/")
    options = parser.parse_args()
    options.json = options.json or (RESULT.with_name("faults.quick.json") if options.quick else RESULT)
    return options


if __name__ == "__main__":
    main()
