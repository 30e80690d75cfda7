"""Measures the time of a run by stage."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class Stopwatch:
    """Adds up wall-clock seconds per stage: `with watch("write"): ...`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lap = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap, or since the watch was made."""
        before, self._lap = self._lap, time.perf_counter()
        return self._lap - before

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began

    def each(self, stage: str, items: Iterable[Item]) -> Iterator[Item]:
        """Yield `items`. The time to get each of them counts for `stage`."""
        source = iter(items)
        while True:
            with self(stage):
                try:
                    item = next(source)
                except StopIteration:
                    return
            yield item
