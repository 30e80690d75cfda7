"""Where `nerx extract` works: in this process, or by the workers of a Ray cluster."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..engine.run.summary import RunSummary

BATCH_ROWS = {True: 256, False: 4096}
"""Rows between two looks at progress and signals, on a CPU and on a GPU: seconds, and some full forward passes."""


class Backend(StrEnum):
    LOCAL = "local"
    RAY = "ray"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What extracts, loaded here or yet to be loaded by workers, and the `run(corpus, extractor, sink)` for it."""

    extractor: Any
    run: Callable[..., "RunSummary"]
    batch_rows: int


@contextmanager
def loaded(backend: Backend, workers: int | None, adapter: Path, digest: str, **settings: Any) -> Iterator[Loaded]:
    """`settings` are those of `Extractor.load`, `digest` is that of the adapter's card. Raises InputError."""
    if backend is Backend.RAY:
        from ..engine.run import ray_backend

        with ray_backend.cluster(workers, gpus=settings["device"] in ("auto", "cuda")) as pool:
            recipe = ray_backend.ExtractorRecipe(str(adapter), digest, settings)
            yield Loaded(recipe, partial(ray_backend.run, pool=pool), BATCH_ROWS[pool.gpus_each == 0])
        return
    from ..engine.run import pipeline
    from ..engine.tagging.extractor import Extractor

    extractor = Extractor.load(adapter, **settings)
    yield Loaded(extractor, pipeline.run, BATCH_ROWS[extractor.model.device.type == "cpu"])
