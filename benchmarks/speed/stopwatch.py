"""Times contenders in turn, batch by batch, so that a noisy hour disturbs all of them alike."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from .ways.contender import Contender
from .work import Batch


@dataclass(frozen=True, slots=True)
class Timing:
    """Best of the repeats, summed over batches. `wall` and `cpu` (of all threads of this process) in seconds.

    measured: texts that were really done; where they are fewer than all, the times are scaled to all of them.
    """

    wall: float
    cpu: float
    measured: int


Best = dict[int, tuple[float, float]]
"""Batch -> least wall and least CPU seconds."""


def measure(
    contenders: Sequence[Contender],
    batches: Sequence[Batch],
    repeats: int,
    *,
    said: Callable[[str], None] = lambda _: None,
) -> dict[str, Timing]:
    """Each batch goes through all contenders, then the next one; the whole again for every repeat.

    A batch's time is the best of its repeats. The first of `contenders` has to do every batch: it is the scale for
    those that do only some.
    """
    best: dict[str, Best] = {contender.name: {} for contender in contenders}
    for contender in contenders:
        warm_up(contender, batches)
    for repeat in range(repeats):
        for index, batch in enumerate(batches):
            for contender in contenders:
                if not contender.whole and index % contender.every == 0:
                    keep_best(best[contender.name], index, lambda c=contender, b=batch: c.run([b]))
        for contender in contenders:
            if contender.whole:
                keep_best(best[contender.name], -1, lambda c=contender: c.run(batches))
        said(f"repeat {repeat + 1} of {repeats} done")
    scale = best[contenders[0].name]
    return {name: scaled(found, scale, batches) for name, found in best.items()}


def warm_up(contender: Contender, batches: Sequence[Batch]) -> None:
    """Two texts of every part: first calls prepare caches, kernels and threads."""
    firsts = {batch.part: batch for batch in reversed(batches)}
    for batch in firsts.values():
        contender.run([batch.first(2)])


def keep_best(best: Best, index: int, work: Callable[[], None]) -> None:
    wall, cpu = clocked(work)
    before = best.get(index, (wall, cpu))
    best[index] = min(before[0], wall), min(before[1], cpu)


def clocked(work: Callable[[], None]) -> tuple[float, float]:
    """Wall and CPU seconds of a call, the GPU's work included."""
    settle()
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    settle()
    return time.perf_counter() - wall, time.process_time() - cpu


def settle() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def scaled(found: Best, scale: Best, batches: Sequence[Batch]) -> Timing:
    wall, cpu = (sum(times[kind] for times in found.values()) for kind in (0, 1))
    if -1 in found or len(found) == len(batches):
        return Timing(wall, cpu, sum(len(batch.sources) for batch in batches))
    share = [sum(scale[index][kind] for index in found) / sum(t[kind] for t in scale.values()) for kind in (0, 1)]
    return Timing(wall / share[0], cpu / share[1], sum(len(batches[index].sources) for index in found))


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large matrix product on `device`, the best of five."""
    size = 8192 if device.type == "cuda" else 1024
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    product = torch.mm(left, right)
    return 2.0 * size**3 / min(clocked(lambda: torch.mm(left, right, out=product))[0] for _ in range(5))
