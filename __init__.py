"""nerx: few-shot entity extraction for large corpora.

Train a domain adapter from a few dozen annotated texts, then read any amount of text with it:

    import nerx
    nerx.fit("seeds.jsonl")
    nerx.extract("corpus.parquet")
    nerx.Extractor.load("nerx-adapter").extract(["Ever Given left Rotterdam."])

Each name loads its module at first use. So `import nerx` and `nerx --help` load neither torch nor pyarrow nor polars.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from .engine.version import __version__ as __version__

if TYPE_CHECKING:
    from .adapters.config import Budget, FitConfig
    from .adapters.fit import FitEvent, FitResult
    from .engine.errors import NerxError
    from .engine.run.config import Backend, ExtractConfig, Mode, Precision, TextUnit
    from .engine.run.frame import extract_frame
    from .engine.run.summary import ExtractEvent, RunSummary
    from .engine.span import Extraction, Span
    from .engine.tagging.extractor import Extractor

__all__ = [
    "ExtractConfig",
    "Extraction",
    "Extractor",
    "FitConfig",
    "FitResult",
    "NerxError",
    "RunSummary",
    "Span",
    "extract",
    "extract_frame",
    "fit",
]

_HOMES = {
    "ExtractConfig": ".engine.run.config",
    "Extraction": ".engine.span",
    "Extractor": ".engine.tagging.extractor",
    "FitConfig": ".adapters.config",
    "FitResult": ".adapters.fit",
    "NerxError": ".engine.errors",
    "RunSummary": ".engine.run.summary",
    "Span": ".engine.span",
    "extract_frame": ".engine.run.frame",
}


def fit(
    seeds: str | Path,
    *,
    out: str | Path = "nerx-adapter",
    base: str = "embedded",
    dev: str | Path | None = None,
    labels: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    budget: "Budget" = "normal",
    rank: int | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    contrast: float | None = None,
    min_score: float | None = None,
    overwrite: bool = False,
    progress: "Callable[[FitEvent], None] | None" = None,
) -> "FitResult":
    """Train an adapter from a seed file, as `nerx fit` does.

    seeds: annotated texts, one JSON object per line. out: the folder for the adapter; `overwrite` replaces it.
    base: the model to adapt: a name that nerx knows, a folder, a .gguf file or a hub id.
    dev: annotated texts to measure on. Without them nerx holds some seeds out.
    labels: a file of labels with descriptions. The model reads the descriptions.
    seed: the same seed on the same machine makes the same adapter.
    budget: quick, normal or thorough. It sets rank, epochs, learning_rate (the peak) and contrast (weight of the
    contrastive loss; 0 turns it off), unless you give them.
    min_score: the adapter drops entities below this probability unless a run says otherwise.
    device: auto, cpu, cuda or mps.
    progress: gets an event for every step.

    Raises SeedError for bad seeds, AdapterError for the base, and OutputError when the adapter exists already. All of
    them come before any training.
    """
    from .adapters.config import FitConfig
    from .adapters.fit import fit as run

    config = FitConfig(
        seeds=Path(seeds), out=Path(out), base=base, dev=None if dev is None else Path(dev),
        labels=None if labels is None else Path(labels), seed=seed, device=device, budget=budget, rank=rank,
        epochs=epochs, learning_rate=learning_rate, contrast=contrast, min_score=min_score, overwrite=overwrite,
    )  # fmt: skip
    return run(config, progress)


def extract(
    corpus: str | Path | Sequence[str | Path],
    *,
    adapter: str | Path = "nerx-adapter",
    out: str | Path | None = None,
    overwrite: bool = False,
    text_column: str | None = None,
    id_column: str | None = None,
    text_unit: "TextUnit" = "line",
    delimiter: str | None = None,
    quote: str | None = None,
    escape: str | None = None,
    infer_types: bool = False,
    limit: int | None = None,
    min_score: float | None = None,
    max_failures: str = "50%",
    incremental: bool = False,
    prune: bool = False,
    retry_failed: bool = False,
    shard: str | None = None,
    batch_tokens: int | None = None,
    mode: "Mode" = "exact",
    precision: "Precision" = "auto",
    backend: "Backend" = "local",
    workers: int | None = None,
    work_dir: str | Path | None = None,
    device: str = "auto",
    base: str | None = None,
    progress: "Callable[[ExtractEvent], None] | None" = None,
    stop: Callable[[], bool] = lambda: False,
) -> "RunSummary":
    """Extract entities from a corpus of any size into Parquet, as `nerx extract` does.

    corpus: one or several files, folders, globs or URIs of object stores, with Parquet, JSONL, CSV or text.
    adapter: the folder that `fit` made.
    out: a `.parquet` file or a folder, here or in a store. The default is CORPUS.nerx.parquet beside a single input.
    overwrite: replace what is at `out`. This happens at the end of the run.
    text_column: the column to read; the default is `text`, or the only column of strings.
    id_column: a column that the input must have. nerx never takes it for the text.
    text_unit: what counts as one text in `.txt` files, a line or the whole file.
    delimiter, quote, escape: how CSV files are written, as characters; also "tab" and quote="none".
    infer_types: give CSV columns types where no value changes by it; else they are strings.
    limit: read only so many rows, the first ones.
    min_score: drop entities below this probability; the default is the adapter's own.
    max_failures: a number of rows, or a share such as "5%".
    incremental: add what is new or changed to the folder `out`; prune: drop the rows of inputs that are gone.
    retry_failed: extract again from the failed rows of `out`. The corpus is not read.
    shard: "2/4" does the second of four shares. All shares fill the folder `out`.
    batch_tokens: tokens in one forward pass. Fewer need less memory.
    mode: "fast" keeps what the drafter proposes. precision: auto, float32, bfloat16 or int8.
    backend: "local", or "ray" with so many `workers`.
    work_dir: where nerx builds an output before it uploads it to a store.
    device: auto, cpu, cuda or mps. base: where the adapter's base is now.
    progress: gets an event for every stage and batch.
    stop: nerx calls it before every batch. When it returns True, finished rows are kept, the summary says
    `interrupted`, and the same call continues from there.

    The output appears only when it is whole. After an error or a kill, the same call continues.

    Raises InputError for options that do not go together, AdapterError, CorpusError for the inputs, OutputError for the
    output, OutputLockedError while another run holds it, and TooManyFailuresError when the output is complete and more
    rows failed than `max_failures`.
    """
    from .engine.run.config import ExtractConfig
    from .engine.run.extract import extract as run

    several = (corpus,) if isinstance(corpus, str | Path) else corpus
    config = ExtractConfig(
        corpus=tuple(map(str, several)), adapter=Path(adapter), out=None if out is None else str(out),
        overwrite=overwrite, text_column=text_column, id_column=id_column, text_unit=text_unit,
        delimiter=delimiter, quote=quote, escape=escape, infer_types=infer_types, limit=limit, min_score=min_score,
        max_failures=max_failures, incremental=incremental, prune=prune,
        retry_failed=retry_failed, shard=shard, batch_tokens=batch_tokens, mode=mode, precision=precision,
        backend=backend, workers=workers, work_dir=None if work_dir is None else Path(work_dir), device=device,
        base=base,
    )  # fmt: skip
    summary = run(config, progress, stop)
    if not summary.interrupted:
        config.failure_limit.require(summary.failures, summary.rows)
    return summary


def __getattr__(name: str) -> object:
    """Load a public name from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
