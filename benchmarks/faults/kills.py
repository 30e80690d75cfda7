"""kill -9 at random moments of full runs, again and again until each is through.

A moment is drawn evenly from the CPU time that an undisturbed run takes: by the clock it would be another one whenever
other work on the machine comes or goes. One in four may be during the start-up, which is half of so short a run. The
whole process group is killed, and the next run begins at once, whatever still dies of the last one. Once a run gets to
its end before its moment comes, the output is compared with the undisturbed one, and the next begins. Ray's workers
have groups of their own: they notice some seconds later that they are orphans, while the next run is under way.
"""

import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from nerx.engine.writing.place import staging_folder

from .scene import Ended, Scene, compare, ended, kill, require_done, started

KINDS: dict[str, tuple[str, ...]] = {"local": (), "ray": ("--backend", "ray", "--workers", "2")}
"""Backend -> its options."""

POLL_SECONDS = 0.1
AFTER_START = 0.75
"""Of the moments."""


@dataclass(slots=True)
class Kills:
    """Counts so far, of one backend and one kind of output. `stages` says where the kills struck.

    `runs` came to their end; of these `equal` are as the undisturbed run, and `resumed` found parts of killed ones.
    `errors` are exit codes and messages of runs that ended otherwise than by a kill or with 0.
    """

    kills: int = 0
    runs: int = 0
    equal: int = 0
    resumed: int = 0
    rows_lost: int = 0
    rows_twice: int = 0
    leftovers: int = 0
    stages: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    cpu_seconds: float = 0.0
    """Of an undisturbed run, all of its processes together."""
    start_seconds: float = 0.0
    """Of these, what passes before the run opens its staging folder."""


@dataclass(frozen=True, slots=True)
class Place:
    """An output and what a run keeps beside it."""

    out: Path

    @property
    def staging(self) -> Path:
        return staging_folder(self.out)

    def owner(self) -> str:
        """Changes when a run takes the staging folder over."""
        try:
            return (self.staging / "owner").read_text()
        except OSError:
            return ""

    def stage(self, owner_before: str) -> str:
        """How far the run came that was just killed."""
        if self.out.exists():
            return "tidying up" if self.leftovers() else "on its way out"
        if self.owner() == owner_before:
            return "start-up"
        names = {path.name for path in self.staging.glob("*")}
        if names & {"whole.parquet.tmp", "whole.parquet", "parts"}:
            return "assembling"
        return "publishing a part" if any(name.endswith(".tmp") for name in names) else "extracting"

    def has_parts(self) -> bool:
        """Whether a run would find finished rows."""
        return any(self.staging.glob("part-*.parquet"))

    def leftovers(self) -> int:
        """Files beside a finished output that no run should leave."""
        return len([*self.out.parent.glob(f".{self.out.name}*"), *self.out.parent.glob("*.tmp")])

    def clear(self) -> None:
        for path in self.out.parent.glob("*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def take_times(scene: Scene, backend: str, way: str, counts: Kills) -> None:
    """Of a run that begins with nothing and is not disturbed."""
    place = _place(scene, backend, way)
    start = seconds = 0.0
    has_begun = False
    with started(scene.command(place.out, *KINDS[backend], way=way)) as process:
        for busy in busy_seconds(process):
            has_begun = has_begun or place.staging.exists()
            start = start if has_begun else busy
            seconds = max(seconds, busy)
        require_done(ended(process))
    place.clear()
    counts.cpu_seconds, counts.start_seconds = round(seconds, 1), round(start, 1)


def busy_seconds(process: subprocess.Popen[str]) -> Iterator[float]:
    """CPU seconds of a process and of all that live below it, ten times a second until it ends."""
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        total = 0.0
        with suppress(psutil.NoSuchProcess):
            for member in (watched, *watched.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    total += sum(member.cpu_times()[:2])
        yield total
        time.sleep(POLL_SECONDS)


def outlives(process: subprocess.Popen[str], cpu_seconds: float, further_seconds: float) -> bool:
    """Wait until a process has worked for so long, and so much longer by the clock: whether it is still there then."""
    for busy in busy_seconds(process):
        if busy >= cpu_seconds:
            break
    try:
        process.wait(further_seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def until_done(scene: Scene, backend: str, way: str, counts: Kills, whole: pa.Table) -> None:
    """One output: kill until a run is through, then compare it. All that is found is added to `counts`."""
    place = _place(scene, backend, way)
    command = scene.command(place.out, *KINDS[backend], way=way)
    draw = random.Random(f"{backend} {way} {counts.kills} {counts.runs}")
    for _ in range(100):
        before, resumed = place.owner(), place.has_parts()
        first = counts.start_seconds if draw.random() < AFTER_START else 0
        with started(command) as process:
            if outlives(process, draw.uniform(first, counts.cpu_seconds), draw.uniform(0, POLL_SECONDS)):
                kill(process)
                process.wait()
                counts.kills += 1
                stage = place.stage(before)
                counts.stages[stage] = counts.stages.get(stage, 0) + 1
                if stage != "on its way out":
                    continue
                done = Ended(0, "", {})  # all was done, and the same command would now be refused
            else:
                done = ended(process)
        if done.code == 0:
            _judge(place, counts, whole)
            counts.resumed += resumed
            break
        counts.errors.append(f"{done.code}: {done.with_paths_from(scene.work)}")
    else:
        counts.errors.append("not done after 100 runs")
    place.clear()


def _judge(place: Place, counts: Kills, whole: pa.Table) -> None:
    found = compare(pq.read_table(place.out), whole)
    counts.runs += 1
    counts.equal += found.equal
    counts.rows_lost += found.rows_lost
    counts.rows_twice += found.rows_twice
    counts.leftovers += place.leftovers()


def _place(scene: Scene, backend: str, way: str) -> Place:
    folder = scene.work / f"{backend}-{way}"
    folder.mkdir(exist_ok=True)
    return Place(folder / ("out.parquet" if way == "file" else "out"))
