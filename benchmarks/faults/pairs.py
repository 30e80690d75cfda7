"""Two runs of one command, started at once: one works, the other ends with 75."""

import shutil
from contextlib import ExitStack
from typing import Any

import pyarrow.parquet as pq

from .scene import WAYS, Scene, compare, ended, started


def pair(scene: Scene, way: str) -> dict[str, Any]:
    """Both exit codes, in order, and whether the output is that of one undisturbed run."""
    folder = scene.work / "pair"
    folder.mkdir()
    out = folder / WAYS[way][0]
    command = scene.command(out, way=way)
    with ExitStack() as stack:
        processes = [stack.enter_context(started(command)) for _ in range(2)]
        ends = [ended(process) for process in processes]
    codes = sorted(end.code for end in ends)
    equal = 0 in codes and compare(pq.read_table(out), pq.read_table(scene.whole)).equal
    message = next((end.with_paths_from(scene.work) for end in ends if end.code), "")
    shutil.rmtree(folder)
    return {"codes": codes, "equal": equal, "message": message}


def count(scene: Scene, way: str, number: int) -> dict[str, Any]:
    """How `number` pairs ended."""
    found = [pair(scene, way) for _ in range(number)]
    return {
        "pairs": number,
        "one_works_and_the_other_ends_with_75": sum(one["codes"] == [0, 75] for one in found),
        "equal": sum(one["equal"] for one in found),
        "messages": sorted({one["message"] for one in found}),
    }
