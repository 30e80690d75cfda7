"""nerx: few-shot entity extraction for large corpora.

Train a domain adapter from a few dozen annotated texts, then read any amount of text with it:

    import nerx
    nerx.fit("seeds.jsonl")
    nerx.Extractor.load("nerx-adapter").extract(["Ever Given left Rotterdam."])

The work behind these names is loaded at first use: `import nerx` and `nerx --help` load no torch, pyarrow or polars.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .engine.version import __version__ as __version__

if TYPE_CHECKING:
    from .adapters.config import FitConfig
    from .adapters.fit import FitEvent, FitResult
    from .engine.errors import NerxError
    from .engine.run.frame import extract_frame
    from .engine.span import Extraction, Span
    from .engine.tagging.extractor import Extractor

__all__ = ["Extraction", "Extractor", "FitConfig", "FitResult", "NerxError", "Span", "extract_frame", "fit"]

_HOMES = {
    "Extraction": ".engine.span",
    "Extractor": ".engine.tagging.extractor",
    "FitConfig": ".adapters.config",
    "FitResult": ".adapters.fit",
    "NerxError": ".engine.errors",
    "Span": ".engine.span",
    "extract_frame": ".engine.run.frame",
}


def fit(seeds: str | Path, *, progress: "Callable[[FitEvent], None] | None" = None, **options: Any) -> "FitResult":
    """Train an adapter from a seed file; what `nerx fit` does.

    `options` are the fields of :class:`FitConfig` (`out`, `budget`, `seed`, ...); `progress` hears of every step.
    Raises SeedError for bad seeds and OutputError when the adapter exists already, both before any training.
    """
    from .adapters.config import FitConfig
    from .adapters.fit import fit as run

    return run(FitConfig(seeds=Path(seeds), **options), progress)


def __getattr__(name: str) -> object:
    """Load a public name from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
