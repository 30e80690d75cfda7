"""Where a run works: in this process, or by the workers of a Ray cluster."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..origin import Origin
from .config import ExtractConfig
from .summary import RunSummary

ROWS_AT_ONCE = {True: 256, False: 4096}
"""Rows per batch on a CPU (True) and on a GPU (False). Between batches a run reports progress and asks `stop`.

On a CPU a batch takes seconds; on a GPU it fills some forward passes."""

EXTRACTION = ("min_score", "mode", "precision")
"""Options of a run that are the extractor's. The others say how to read the corpus."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """An extractor, and the `run(corpus, extractor, sink)` that uses it. Ray workers load theirs later."""

    extractor: Any
    run: Callable[..., RunSummary]
    batch_rows: int


@contextmanager
def loaded(config: ExtractConfig, origin: Origin, *, here: bool = False) -> Iterator[Loaded]:
    """The extractor that `config` asks for. `here` loads it in this process, whatever backend `config` names.

    Raises AdapterError, and InputError where Ray is missing or its cluster too small.
    """
    settings: dict[str, Any] = {
        "device": config.device,
        "base": config.base,
        "batch_tokens": config.batch_tokens,
        **{name: origin.options[name] for name in EXTRACTION},
    }
    if config.backend == "ray" and not here:
        from . import ray_backend

        with ray_backend.cluster(config.workers, gpus=config.device in ("auto", "cuda")) as pool:
            recipe = ray_backend.ExtractorRecipe(str(config.adapter), settings)
            yield Loaded(recipe, partial(ray_backend.run, pool=pool), ROWS_AT_ONCE[pool.gpus_each == 0])
        return
    from ..tagging.extractor import Extractor
    from . import pipeline

    extractor = Extractor.load(config.adapter, **settings)
    yield Loaded(extractor, pipeline.run, ROWS_AT_ONCE[extractor.model.device.type == "cpu"])
