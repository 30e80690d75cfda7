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
"""Rows between two looks at progress and at `stop`, on a CPU and on a GPU: seconds, and some full forward passes."""


@dataclass(frozen=True, slots=True)
class Backend:
    """What extracts, loaded here or yet to be loaded by workers, and the `run(corpus, extractor, sink)` for it."""

    extractor: Any
    run: Callable[..., RunSummary]
    batch_rows: int


@contextmanager
def loaded(config: ExtractConfig, origin: Origin, *, here: bool = False) -> Iterator[Backend]:
    """The extractor that `config` asks for; with `here` in this process, whatever it says of a backend.

    Raises AdapterError, and InputError where Ray is missing or its cluster too small.
    """
    settings: dict[str, Any] = {
        "device": config.device,
        "base": config.base,
        "batch_tokens": config.batch_tokens,
        # All options but those that say how files are read: the model knows no files.
        **{name: value for name, value in origin.options.items() if name not in config.dialect.given},
    }
    if config.backend == "ray" and not here:
        from . import ray_backend

        with ray_backend.cluster(config.workers, gpus=config.device in ("auto", "cuda")) as pool:
            recipe = ray_backend.ExtractorRecipe(str(config.adapter), settings)
            yield Backend(recipe, partial(ray_backend.run, pool=pool), ROWS_AT_ONCE[pool.gpus_each == 0])
        return
    from ..tagging.extractor import Extractor
    from . import pipeline

    extractor = Extractor.load(config.adapter, **settings)
    yield Backend(extractor, pipeline.run, ROWS_AT_ONCE[extractor.model.device.type == "cpu"])
