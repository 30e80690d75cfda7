"""A run on a Ray cluster. The shards are rows of a Ray Data set; a pool of actors maps them, each with an extractor.

The driver holds the output's lock and assembles the output at the end, as in a local run. The workers write their
pieces into its staging folder, which all machines must see under one path. When a worker dies, Ray gives its shard to
another one, which continues after the last piece. This module knows no model: each worker loads one from a recipe.
"""

import logging
import os
import platform
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .. import errors
from ..errors import InputError, NerxError
from ..reading.corpus import Corpus, Shard
from ..tally import Tally
from ..writing.sink import Sink
from ..writing.staging import Staging
from ..writing.writer import ShardWriter
from .claim import Claim, Token
from .pipeline import TextExtractor, never, work
from .summary import Progress, RunSummary

if TYPE_CHECKING:
    import ray.data

POLL_SECONDS = 0.5
"""Seconds between two looks at the stop flag and at finished pieces."""

OBJECT_STORE_BYTES = 128 << 20
"""Size of the object store of a cluster that nerx starts. Only shard numbers and counts pass through Ray."""


class Recipe(Protocol):
    """How to load an extractor. It can be pickled."""

    def load(self) -> TextExtractor: ...


@dataclass(frozen=True, slots=True)
class ExtractorRecipe:
    """A recipe for an `Extractor`. `settings` are arguments of `Extractor.load`."""

    adapter: str
    settings: dict[str, Any] = field(default_factory=dict)

    def load(self) -> TextExtractor:
        from ..tagging.extractor import Extractor  # in the worker: the driver needs no torch

        return Extractor.load(self.adapter, **self.settings)


@dataclass(frozen=True, slots=True)
class Pool:
    """The number of actors, and the GPUs of the cluster that each holds."""

    workers: int
    gpus_each: int


@contextmanager
def cluster(workers: int | None = None, *, gpus: bool = True) -> Iterator[Pool]:
    """Connect to the cluster of RAY_ADDRESS, or to one that `ray start` made on this machine, or start one here.

    By default there is a worker per GPU if `gpus` is True and the cluster has some, else a worker per CPU. Raises
    InputError when Ray is not installed, or when the cluster has no room for so many workers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise InputError(f"--backend ray needs Ray ({error}): pip install 'ray[data]'") from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with _own_signals():
        _connect(workers)
    try:
        yield _pool(workers, gpus)
    finally:
        ray.shutdown()


def run(
    corpus: Corpus,
    recipe: Recipe,
    sink: Sink,
    *,
    pool: Pool,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = never,
) -> RunSummary:
    """Do what :func:`~.pipeline.run` does, with the workers of `pool`. Reports rows when their pieces are published.

    Raises the errors of a local run, and NerxError when workers die again and again on the same rows.
    """
    shards = corpus.shards()
    with sink:
        done = before = sink.tally()
        stopped = False
        pending = list(sink.pending(shards))
        if pending:
            with Token.of(sink.staging) as token:
                counter = _Counter(sink.staging, before)
                job = _Job(corpus, recipe, pending, sink.staging, sink.checkpoint_seconds, token, Path.cwd())
                results = _Results(_dataset(job, pool))
                while results.are_coming(POLL_SECONDS):
                    if not stopped and (stop() or results.error):
                        stopped = True
                        token.withdraw()
                    if progress is not None and counter.has_changed():
                        progress(Progress.of(counter.done, corpus.rows))
                if results.error:
                    raise results.error
            done = sink.tally()
        stopped = stopped and done.rows < corpus.rows
        if not stopped:
            sink.finish(shards)
    return RunSummary.of(done, shards=len(shards), out=sink.name, resumed_rows=before.rows, interrupted=stopped)


@dataclass(frozen=True, slots=True)
class _Job:
    """The task of every worker: the `shards` to do, where their pieces go, and the driver's folder `home`."""

    corpus: Corpus
    recipe: Recipe
    shards: list[Shard]
    staging: Staging
    checkpoint_seconds: float
    token: Token
    home: Path

    def do(self, shard: Shard, extractor: TextExtractor) -> None:
        """Extract from the rest of `shard`, in this process alone."""
        with Claim(self.staging, shard) as claim:
            rest = claim.pending()
            if rest is None:
                return
            with ShardWriter(self.staging, rest, self.corpus.text_index, self.checkpoint_seconds) as writer:
                for _ in work(self.corpus, rest, extractor, writer, stop=self.token.is_withdrawn):
                    pass  # the driver counts pieces


class _Worker:
    """An actor. It holds one extractor and works on one shard after another."""

    def __init__(self, job: _Job) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self._job = job
        self._extractor: TextExtractor | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Work on the shard whose number is in `batch`. Returns kind and text of an error, or empty strings."""
        (number,) = batch["item"]
        job = self._job
        try:
            # Not in the constructor, whose failures Ray takes for a death of the process.
            self._go_home()
            if not job.token.is_withdrawn():
                self._extractor = self._extractor or job.recipe.load()
                job.do(job.shards[number], self._extractor)
        except NerxError as error:
            return {"kind": [type(error).__name__], "error": [str(error)]}
        return {"kind": [""], "error": [""]}

    def _go_home(self) -> None:
        """Change to the driver's folder, so that relative paths hold. Raises InputError when this machine lacks it."""
        home, shared = self._job.home, self._job.staging.folder
        try:
            os.chdir(home)
            shared.stat()
        except OSError as error:
            raise InputError(
                f"{shared}: cannot be seen from {home} on {platform.node()}; all machines of a Ray run must share a "
                "filesystem under one path, for inputs, adapter and output"
            ) from error


def _dataset(job: _Job, pool: Pool) -> "ray.data.Dataset":
    """A data set with one block per shard, so that each shard is one task of Ray."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    count = len(job.shards)
    return ray.data.from_items(list(range(count)), override_num_blocks=count).map_batches(
        _Worker,
        fn_constructor_args=(job,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(pool.workers, count), max_tasks_in_flight_per_actor=1),
        num_cpus=1,
        num_gpus=pool.gpus_each,
    )


class _Results:
    """The data set, read by a thread. Ray returns nothing until a shard is done, and the driver must poll meanwhile."""

    def __init__(self, dataset: "ray.data.Dataset") -> None:
        self.error: Exception | None = None
        self._dataset = dataset
        self._thread = threading.Thread(target=self._consume, name="nerx-ray", daemon=True)
        self._thread.start()

    def are_coming(self, seconds: float) -> bool:
        """Wait for `seconds`, and say whether results are still to come."""
        self._thread.join(seconds)
        return self._thread.is_alive()

    def _consume(self) -> None:
        try:
            for row in self._dataset.iter_rows():
                if row["kind"] and self.error is None:
                    self.error = getattr(errors, row["kind"], NerxError)(row["error"])
        except Exception as error:
            self.error = error


class _Counter:
    """Counts finished rows, from the pieces in the staging folder. It opens each piece once."""

    def __init__(self, staging: Staging, before: Tally) -> None:
        self._staging = staging
        self._known = set(self._staging.names())
        self.done = before

    def has_changed(self) -> bool:
        """Count the new pieces. Returns whether there are any."""
        new = set(self._staging.names()) - self._known
        for name in new:
            self.done += self._staging.tally(name)
        self._known |= new
        return bool(new)


def _connect(workers: int | None) -> None:
    import ray

    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        ray.init(address="auto", **quiet)  # what RAY_ADDRESS says, or a cluster of this machine
    except ConnectionError as error:
        if os.environ.get("RAY_ADDRESS"):
            raise InputError(f"RAY_ADDRESS={os.environ['RAY_ADDRESS']}: no Ray cluster answers there") from error
        ray.init(
            num_cpus=max(workers or 1, os.cpu_count() or 1),
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            **quiet,
        )


def _pool(workers: int | None, gpus: bool) -> Pool:
    import ray

    room: dict[str, float] = ray.cluster_resources()
    gpus_there = int(room.get("GPU", 0)) if gpus else 0
    most = gpus_there or int(room.get("CPU", 0))
    if (workers or 1) > most:
        what = "GPUs" if gpus_there else "CPUs"
        raise InputError(f"--workers {workers or 1}: the Ray cluster has {most} {what}, and each worker takes one")
    return Pool(workers or most, int(gpus_there > 0))


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep our signal handlers. Those of Ray would end the process without a commit."""
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)
