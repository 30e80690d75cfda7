"""A disk that fills up, one that is read-only, an input cut off during the run: then set right, and run again."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from disk import Disk, MountError

from .scene import WAYS, Ended, Scene, compare, ended, extract, started

FULL_BYTES = "64m"
ROOM_BYTES = "1g"


def full(scene: Scene, way: str) -> dict[str, Any] | None:
    """The output's disk has 64 MiB, which is less than the rows take. None where nothing can be mounted."""
    with _disk(scene, f"size={FULL_BYTES}") as disk:
        if disk is None:
            return None
        command = scene.command(disk.folder / WAYS[way][0], way=way)
        failed = extract(command)
        disk.remount(f"size={ROOM_BYTES}")
        return _told(scene, failed, extract(command), disk.folder / WAYS[way][0])


def read_only(scene: Scene, way: str) -> dict[str, Any] | None:
    """The output's disk cannot be written. None where nothing can be mounted."""
    with _disk(scene, f"size={ROOM_BYTES}") as disk:
        if disk is None:
            return None
        disk.remount("ro")
        command = scene.command(disk.folder / WAYS[way][0], way=way)
        failed = extract(command)
        disk.remount("rw")
        return _told(scene, failed, extract(command), disk.folder / WAYS[way][0])


def cut_off(scene: Scene, way: str) -> dict[str, Any]:
    """The last input loses half of its bytes as soon as the first part is there."""
    folder = scene.work / f"cut-off-{way}"
    folder.mkdir()
    victim = max(scene.lake.iterdir())
    shutil.copy2(victim, folder / "backup")
    command = scene.command(folder / WAYS[way][0], way=way)
    try:
        with started(command) as process:
            while process.poll() is None and not list(folder.rglob("part-*.parquet")):
                time.sleep(0.02)
            os.truncate(victim, victim.stat().st_size // 2)
            failed = ended(process)
    finally:
        shutil.copy2(folder / "backup", victim)
    told = _told(scene, failed, extract(command), folder / WAYS[way][0])
    shutil.rmtree(folder)
    return told


@contextmanager
def _disk(scene: Scene, options: str) -> Iterator[Disk | None]:
    disk = Disk(scene.work / "disk")
    try:
        disk.mount(options)
        yield disk
    except MountError:
        yield None
    finally:
        disk.unmount()
        disk.folder.rmdir()


def _told(scene: Scene, failed: Ended, again: Ended, out: Path) -> dict[str, Any]:
    """`resumed_rows`: how many rows the second run found done, None where it does not say."""
    equal = again.code == 0 and compare(pq.read_table(out), pq.read_table(scene.whole)).equal
    return {
        "exit_code": failed.code,
        "message": failed.with_paths_from(scene.work),
        "exit_code_of_rerun": again.code,
        "message_of_rerun": again.with_paths_from(scene.work) if again.code else "",
        "resumed_rows": again.result.get("resumed_rows"),
        "rows": scene.rows,
        "equal": equal,
    }
