"""A whole run: corpus -> extractor -> sink, shard by shard.

It knows neither file formats nor models. Any :class:`TextExtractor` will do.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from ..reading.corpus import Corpus, Shard
from ..span import Extraction
from ..tally import Tally
from ..writing.writer import ShardWriter
from .memo import Memo
from .stopwatch import Stopwatch
from .summary import Progress, RunSummary


class TextExtractor(Protocol):
    """What a run needs from a model."""

    @property
    def tokens(self) -> int:
        """Model tokens read so far. The count only grows."""

    def extract(self, texts: Sequence[str | None]) -> list[Extraction]:
        """One extraction per text, in order. For a text that cannot be processed it holds an error."""


class RunSink(Protocol):
    """Where a run puts its rows. `Sink` documents the methods."""

    @property
    def name(self) -> str: ...
    def __enter__(self) -> "RunSink": ...
    def __exit__(self, *exception: object) -> None: ...
    def tally(self) -> Tally: ...
    def pending(self, shards: Sequence[Shard]) -> Iterator[Shard]: ...
    def writer(self, shard: Shard) -> ShardWriter: ...
    def finish(self, shards: Sequence[Shard]) -> None: ...


def never() -> bool:
    """The `stop` of a run that nobody stops."""
    return False


def run(
    corpus: Corpus,
    extractor: TextExtractor,
    sink: RunSink,
    *,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = never,
) -> RunSummary:
    """Extract from every row that is not done, and publish the output.

    It asks `stop` before every batch. When `stop` returns True, finished rows are kept, and a rerun continues after
    them. So it is after an error. Raises CorpusError when an input changes or is damaged, OutputError, and
    OutputLockedError.
    """
    shards = corpus.shards()
    stopped, watch = False, Stopwatch()
    with sink:
        done = before = sink.tally()
        watch.lap()
        for shard in sink.pending(shards):
            with sink.writer(shard) as writer:
                for counted in work(corpus, shard, extractor, writer, stop=stop, watch=watch):
                    done += counted
                    if progress is not None:
                        progress(Progress.of(done, corpus.rows))
            stopped = not writer.is_whole
            if stopped:
                break
        else:
            with watch("assemble"):
                sink.finish(shards)
    return RunSummary.of(
        done,
        shards=len(shards),
        out=sink.name,
        resumed_rows=before.rows,
        interrupted=stopped,
        stages=dict(watch.seconds),
    )


def work(
    corpus: Corpus,
    shard: Shard,
    extractor: TextExtractor,
    writer: ShardWriter,
    *,
    stop: Callable[[], bool] = never,
    watch: Stopwatch | None = None,
) -> Iterator[Tally]:
    """Extract from the rows of `shard` that are not done. Yields the counts of each batch when `writer` has it.

    Ends early when `stop` returns True. Raises CorpusError when the input has changed.
    """
    watch = watch or Stopwatch()
    memo = Memo(extractor.extract)
    for texts, extractions in writer.finished():
        memo.learn(texts, extractions)
    for batch in watch.each("read", corpus.batches(shard)):
        if stop():
            break
        before = extractor.tokens
        with watch("model"):
            found = memo.extract(corpus.texts(batch))
        seconds = watch.lap()
        with watch("write"):
            counted = writer.add(batch, found, tokens=extractor.tokens - before, seconds=seconds)
        yield counted
    with watch("write"):
        writer.checkpoint()
