"""`extract`: a config in, an output out. It runs a whole corpus, a share, an increment or a retry, here or on Ray.

Each way imports what it needs when it runs. So a run that finds nothing new loads neither torch nor pyarrow.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..errors import InputError, NerxError, OutputError, OutputLockedError
from ..origin import Origin
from ..tagging.card import AdapterCard
from ..version import __version__
from .config import ON_WHAT_IS_THERE, ExtractConfig
from .summary import DryRun, ExtractEvent, Inputs, Progress, RunSummary

if TYPE_CHECKING:
    from ..reading.corpus import Corpus
    from ..reading.listing import InputFile
    from ..writing.growing import GrowingOutput
    from ..writing.increment import Increment
    from .backend import Loaded
    from .pipeline import RunSink

Tell = Callable[[ExtractEvent], None]


def extract(
    config: ExtractConfig, progress: Tell | None = None, stop: Callable[[], bool] = lambda: False
) -> RunSummary:
    """Extract entities as `config` says, and publish the output: all of it, or nothing.

    `progress` gets an event for every stage and batch. `extract` asks `stop` before every batch. When it returns True,
    finished rows are kept, the summary says `interrupted`, and the same call continues from there.

    Raises AdapterError, CorpusError for the inputs, OutputError for the output, and OutputLockedError while another run
    holds it. Cheap checks come before a model is loaded.
    """
    job = _Job.of(config, progress, stop)
    if config.retry_failed:
        return _retry(job)
    return _grow(job) if config.incremental else _whole(job)


def estimate(config: ExtractConfig, progress: Tell | None = None) -> DryRun:
    """Count what `extract` would read, and time a sample of it in this process. Write nothing.

    Raises the errors of `extract` for the adapter and the inputs.
    """
    if config.retry_failed:
        raise InputError(f"--retry-failed and --dry-run do not go together: {ON_WHAT_IS_THERE}")
    job = _Job.of(config, progress)
    if config.incremental and not config.overwrite:  # with it, a run would read all inputs
        with _growing(job) as (output, increment, inputs):
            if not increment.work:
                return DryRun(0, 0, 0, 0, inputs=inputs, left_out=job.left_out)
            return replace(_sampled(job, _new_in(job, output, increment)), inputs=inputs, left_out=job.left_out)
    corpus = job.opened(job.files(), limit=config.limit, share=config.share)
    return replace(_sampled(job, corpus), left_out=job.left_out)


@dataclass(frozen=True, slots=True)
class _Job:
    """A config, what the adapter's card adds to it, and the callbacks."""

    config: ExtractConfig
    origin: Origin
    tell: Tell
    stop: Callable[[], bool]
    left_out: list[str] = field(default_factory=list)
    """What lies among the inputs and is not read, once `files` has listed them."""

    @classmethod
    def of(cls, config: ExtractConfig, progress: Tell | None, stop: Callable[[], bool] = lambda: False) -> "_Job":
        card = AdapterCard.read(config.adapter)
        min_score = card.min_score if config.min_score is None else config.min_score
        options = {"min_score": min_score, "mode": config.mode, "precision": config.precision, **config.dialect.given}
        origin = Origin(card.digest, options, card.base, card.base_digest, __version__)
        job = cls(config, origin, progress or _ignore, stop)
        job.tell(ExtractEvent("read", origin=origin))
        return job

    def files(self) -> "tuple[InputFile, ...]":
        """The input files. Raises OutputError where the output would be among them the next time."""
        from ..reading.listing import list_files, reads_back
        from ..writing.place import is_single, part_name

        out = self.config.target
        if "://" not in str(self.config.out):
            found = reads_back(self.config.corpus, out if is_single(out) else out / part_name(0))
            if found is not None:
                raise OutputError(
                    f"{out}: lies in the input {found}, so the next run would read it as an input; choose a place "
                    "outside of the inputs"
                )
        return list_files(self.config.corpus, self.left_out)

    @property
    def reading(self) -> dict[str, Any]:
        """The arguments of `open_corpus` that the config sets."""
        config = self.config
        return {
            "text_column": config.text_column,
            "id_column": config.id_column,
            "text_unit": config.text_unit,
            "dialect": config.dialect,
        }

    def opened(self, paths: Sequence[Any], **how: Any) -> "Corpus":
        """The corpus at `paths`; `how` goes before what the config says."""
        from ..reading.corpus import open_corpus

        corpus = open_corpus(paths, **{**self.reading, **how})
        if corpus.note:
            self.tell(ExtractEvent("note", note=corpus.note))
        return corpus

    @contextmanager
    def loaded(self, *, here: bool = False) -> Iterator["Loaded"]:
        from .backend import loaded

        self.tell(ExtractEvent("load"))
        with loaded(self.config, self.origin, here=here) as backend:
            yield backend

    def hear(self, at: Progress) -> None:
        self.tell(ExtractEvent("extract", progress=at))

    def run(self, corpus: "Corpus", backend: "Loaded", sink: "RunSink") -> RunSummary:
        """Extract the rows of `corpus` into `sink`. If that fails, tell how many rows are finished and kept."""
        corpus = replace(corpus, batch_rows=backend.batch_rows)
        self.tell(ExtractEvent("begin", input_digest=corpus.digest, total_rows=corpus.rows))
        try:
            return backend.run(corpus, backend.extractor, sink, progress=self.hear, stop=self.stop)
        except OutputLockedError:  # what is there is another run's
            raise
        except Exception:
            with suppress(NerxError, OSError):
                count, done = len(corpus.shards()), sink.tally()
                kept = RunSummary.of(done, shards=count, out=sink.name, resumed_rows=0, interrupted=True)
                self.tell(ExtractEvent("kept", kept=kept))
            raise


def _whole(job: _Job) -> RunSummary:
    """Extract all of the corpus, or a share of it, into a new output."""
    from ..writing.output import open_output, require_free
    from ..writing.sink import Sink

    config = job.config
    output = open_output(config.out or config.target, config.work_dir, share=config.share)
    # Cheap refusals come first: before files are read through and a model is loaded.
    require_free(output, overwrite=config.overwrite)
    corpus = job.opened(job.files(), limit=config.limit, share=config.share)
    with job.loaded() as backend:
        summary = job.run(corpus, backend, Sink(output, corpus, job.origin, overwrite=config.overwrite))
    return replace(summary, left_out=job.left_out)


def _grow(job: _Job) -> RunSummary:
    """Extract from new and changed inputs, and add them to a folder."""
    with _growing(job) as (output, increment, inputs):
        if not increment.work:
            output.finish()
            return replace(RunSummary.nothing_new(str(output.out), inputs), left_out=job.left_out)
        from ..writing.growing_sink import GrowingSink

        corpus = _new_in(job, output, increment)
        with job.loaded() as backend:
            summary = job.run(corpus, backend, GrowingSink(output, increment, corpus, job.origin))
        return replace(summary, inputs=inputs, left_out=job.left_out)


@contextmanager
def _growing(job: _Job) -> Iterator[tuple["GrowingOutput", "Increment", Inputs]]:
    """The growing folder, locked, and the inputs that are new for it."""
    from ..writing.growing import GrowingOutput

    config, files = job.config, job.files()
    origin = replace(job.origin, text_column=config.text_column)
    with GrowingOutput(config.target, origin, overwrite=config.overwrite, prune=config.prune) as output:
        increment = output.compare(files)
        inputs = Inputs.of(increment, prune=config.prune)
        job.tell(ExtractEvent("compare", inputs=inputs))
        yield output, increment, inputs


def _new_in(job: _Job, output: "GrowingOutput", increment: "Increment") -> "Corpus":
    """The inputs that are new or changed. They must have the columns of the parts that exist already."""
    from ..writing.part import part_columns

    known = part_columns(output.folder, output.parts[0]) if output.parts else None
    return job.opened([work.file for work in increment.work], text_column=output.text_column, known=known)


def _retry(job: _Job) -> RunSummary:
    """Extract again from the failed rows of a finished output."""
    from .retry import FailedRows

    with FailedRows(job.config.target) as failed:
        if not failed.count:
            return failed.summary()
        failed.require_made_with(job.origin)
        with job.loaded() as backend:
            job.tell(ExtractEvent("begin", total_rows=failed.count))
            return failed.summary(failed.retry(backend.extractor, progress=job.hear, stop=job.stop))


def _sampled(job: _Job, corpus: "Corpus") -> DryRun:
    from .estimate import dry_run

    with job.loaded(here=True) as backend:
        job.tell(ExtractEvent("count"))
        return dry_run(replace(corpus, batch_rows=backend.batch_rows), backend.extractor)


def _ignore(_event: ExtractEvent) -> None:
    """Drop the event: no caller asked for progress."""
