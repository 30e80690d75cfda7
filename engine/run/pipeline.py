"""A whole run: corpus -> extractor -> sink, shard by shard.

Deliberately knows neither file formats nor models. The extractor is whatever satisfies :class:`TextExtractor`.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from ..columns import OFFSET_UNIT, settle
from ..reading.corpus import Corpus, Shard
from ..reading.share import Share
from ..span import Extraction
from ..tally import Tally
from ..writing.growing import GrowingOutput
from ..writing.growing_sink import GrowingSink
from ..writing.increment import Increment
from ..writing.lock import require_unlocked
from ..writing.manifest import Facts
from ..writing.output import Output, check_output
from ..writing.place import lock_file
from ..writing.shared_sink import SharedSink, share_place
from ..writing.sink import Sink
from ..writing.store_output import StoreOutput
from ..writing.store_sink import StoreSink
from ..writing.writer import ShardWriter
from .recall import Recall
from .stopwatch import Stopwatch


class Digested(Protocol):
    """What is needed of an extractor to know a run again."""

    @property
    def digest(self) -> str:
        """Hex digest of all that decides its output."""


class TextExtractor(Digested, Protocol):
    """What a run asks of a model."""

    @property
    def tokens(self) -> int:
        """Model tokens read so far; only grows."""

    def extract(self, texts: Sequence[str | None]) -> list[Extraction]:
        """One extraction a text, in order; a text that cannot be processed is an extraction with an error."""


class RunSink(Protocol):
    """Where a run puts its rows; `Sink` says what each does."""

    @property
    def name(self) -> str: ...
    def __enter__(self) -> "RunSink": ...
    def __exit__(self, *exception: object) -> None: ...
    def tally(self) -> Tally: ...
    def pending(self, shards: Sequence[Shard]) -> Iterator[Shard]: ...
    def writer(self, shard: Shard) -> ShardWriter: ...
    def finish(self, shards: Sequence[Shard]) -> None: ...


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts so far, of the parts finished by earlier runs too. `seconds` is time spent working on them."""

    rows: int
    total_rows: int
    entities: int
    failures: int
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What the output holds and what it took, over all runs that made it. See `Tally` for the counts.

    `characters_in == characters_read` proves that no text was cut; a row for which it does not hold has failed.
    """

    rows: int
    texts: int
    entities: int
    entities_per_label: Mapping[str, int]
    failures: int
    characters_in: int
    characters_read: int
    tokens: int
    seconds: float
    shards: int
    resumed_rows: int
    """Rows that were finished before this run began."""
    out: str
    interrupted: bool
    """`stop` ended the run: the output is not there yet, what is finished is kept, a rerun goes on."""
    scores: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Label -> its entities by score, in `tally.SCORE_BINS` equal bins of [0, 1]."""
    repeats: int = 0
    rounds: int = 0
    drafted: int = 0
    accepted: int = 0
    stages: Mapping[str, float] = field(default_factory=dict)
    """Seconds per stage, of this run alone: read, model, write, assemble."""

    @classmethod
    def of(cls, done: Tally, corpus: Corpus, sink: "RunSink", **more: Any) -> "RunSummary":
        """What is finished, as counted in `done`; `more` are the fields that no count gives."""
        return cls(**asdict(done), shards=len(corpus.shards()), out=sink.name, **more)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def never() -> bool:
    return False


def open_sink(
    out: Output,
    corpus: Corpus,
    extractor: Digested,
    *,
    options: Mapping[str, Any] | None = None,
    provenance: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> Sink:
    """The sink for a run of `extractor` over `corpus`, with the fingerprint and metadata that belong to it.

    `options` are the choices that change the output; `provenance` holds further facts to compare and to store, such as
    `version`, `base` and `base_digest`. Raises OutputError when `out` exists, is an input, or is no place to write.
    """
    check_output(out, overwrite=overwrite or corpus.share is not None, inputs=[file.path for file in corpus.files])
    # Of the whole corpus, also where a share of it is worked on: all shares are one run.
    cuts = [(number, cut.first_row, cut.rows) for number, source in enumerate(corpus.sources) for cut in source.cuts]
    fingerprint = {
        "adapter": extractor.digest,
        "options": dict(options or {}),
        "text column": corpus.text_column,
        "rows": sum(rows for _, _, rows in cuts),
        "input": corpus.identity,
        "cuts into shards": hashlib.blake2b(json.dumps(cuts).encode(), digest_size=16).hexdigest(),
        **(provenance or {}),
    }
    metadata = output_metadata(corpus, extractor, options, provenance)
    settings: dict[str, Any] = {"fingerprint": fingerprint, "metadata": metadata, "overwrite": overwrite}
    if isinstance(out, StoreOutput):
        return StoreSink(out, corpus.schema, corpus.text_column, **settings)
    if corpus.share is None:
        return Sink(out, corpus.schema, corpus.text_column, **settings)
    numbers = [shard.index for shard in corpus.shards()]
    return SharedSink(out, corpus.schema, corpus.text_column, share=corpus.share, numbers=numbers, **settings)


def require_free(out: Output, *, share: Share | None = None, overwrite: bool = False) -> None:
    """To ask before a model is loaded: raises OutputError, OutputLockedError when a run to `out` could not begin."""
    check_output(out, overwrite=overwrite or share is not None)
    home = out.home if isinstance(out, StoreOutput) else out
    require_unlocked(lock_file(share_place(home, share) if share else home), str(out))


def options_text(options: Mapping[str, Any] | None) -> str:
    """Options as metadata holds them; equal options give equal texts."""
    return json.dumps(dict(options or {}), ensure_ascii=False, sort_keys=True)


def output_metadata(
    corpus: Corpus,
    extractor: Digested,
    options: Mapping[str, Any] | None = None,
    provenance: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """What every Parquet file of a run says of itself."""
    facts = {
        "adapter": extractor.digest,
        "options": options_text(options),
        "text_column": corpus.text_column,
        "offset_unit": OFFSET_UNIT,
        "input_digest": corpus.digest,
        **(provenance or {}),
    }
    return {f"nerx.{key}": value for key, value in facts.items()}


def open_growing_sink(
    output: GrowingOutput,
    increment: Increment,
    corpus: Corpus,
    extractor: TextExtractor,
    *,
    options: Mapping[str, Any] | None = None,
    provenance: Mapping[str, str] | None = None,
) -> GrowingSink:
    """The sink that adds the work of `increment`, opened as `corpus`, to an open `output`; else as `open_sink`."""
    facts = Facts(extractor.digest, (provenance or {}).get("base_digest", ""), dict(options or {}), corpus.text_column)
    metadata = output_metadata(corpus, extractor, options, provenance)
    return GrowingSink(output, increment, corpus, facts=facts, metadata=metadata)


def run(
    corpus: Corpus,
    extractor: TextExtractor,
    sink: RunSink,
    *,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = never,
) -> RunSummary:
    """Extract from every row that is not done and publish the output; when `stop` says so, keep what is finished.

    `stop` is asked before every batch. Raises CorpusError when an input changes or turns out damaged, OutputError,
    OutputLockedError; finished parts are kept and a rerun goes on from them.
    """
    shards = corpus.shards()
    stopped, watch = False, Stopwatch()
    with sink:
        done = before = sink.tally()
        clock, tokens = time.perf_counter(), extractor.tokens
        for shard in sink.pending(shards):
            recall = Recall(extractor.extract)
            with sink.writer(shard) as writer:
                for texts, extractions in writer.finished():
                    recall.learn(texts, extractions)
                for batch in watch.each("read", corpus.batches(shard)):
                    if stopped := stop():
                        break
                    texts = corpus.texts(batch)
                    with watch("model"):
                        found = recall.extract(texts)
                    extractions = settle(corpus.text_array(batch), texts, found)
                    now, read = time.perf_counter(), extractor.tokens
                    with watch("write"):
                        done += writer.add(batch, extractions, tokens=read - tokens, seconds=now - clock)
                    clock, tokens = now, read
                    if progress is not None:
                        progress(progress_of(done, corpus.rows))
                with watch("write"):
                    writer.checkpoint()
            if stopped:
                break
        else:
            with watch("assemble"):
                sink.finish(shards)
    return RunSummary.of(done, corpus, sink, resumed_rows=before.rows, interrupted=stopped, stages=dict(watch.seconds))


def progress_of(done: Tally, total_rows: int) -> Progress:
    """`done` as an event."""
    return Progress(done.rows, total_rows, done.entities, done.failures, done.tokens, done.seconds)
