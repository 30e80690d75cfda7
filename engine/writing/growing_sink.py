"""The sink of a growing output: pieces are collected input by input, and each input is published when it is whole.

What is unfinished belongs to an input's content and not to a run, so a run that was killed is continued by the next
one even if inputs have come, gone or changed meanwhile.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import CorpusError, NerxError
from ..origin import Origin
from ..reading.corpus import Corpus, Shard
from ..tally import Tally
from .growing import GrowingOutput
from .increment import Increment
from .manifest import InputState, PartRecord
from .part import input_facts, output_schema
from .staging import Staging, linked
from .writer import CHECKPOINT_SECONDS, ShardWriter, reporting


@dataclass(frozen=True, slots=True)
class _Task:
    """One input on its way: `shards` are all of its shards, `part` is the name under which it will be published."""

    state: InputState
    part: str
    staging: Staging
    shards: tuple[Shard, ...]

    def local(self, shard: Shard) -> Shard:
        """`shard` numbered within the input, whatever stands before it in this run."""
        return replace(shard, index=shard.index - self.shards[0].index)

    def prepare(self, origin: Origin) -> None:
        """Make the staging folder, or take over what fits of it."""
        cuts = [(shard.cut.first_row, shard.rows) for shard in self.shards]
        fingerprint = {"facts": origin.deciding, "digest": self.state.digest, "cuts": cuts}
        columns = [str(field) for field in self.staging.schema]
        self.staging.folder.parent.mkdir(exist_ok=True)
        self.staging.prepare({**fingerprint, "columns": columns}, overwrite=True)


class GrowingSink:
    """What :class:`~.sink.Sink` is for a run that starts from nothing. `corpus` holds the increment's work, in order.

    Use as a context manager, inside that of `output`, which holds the lock. Leaving without an exception publishes
    all inputs that are whole. A sink of its own, since it has a staging folder for each input and not one, and
    publishes while the run goes on; the driver asks the same of both.
    """

    def __init__(
        self,
        output: GrowingOutput,
        increment: Increment,
        corpus: Corpus,
        origin: Origin,
        *,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
    ) -> None:
        self.out = output.out
        self._output = output
        self._origin = origin.reading(corpus.text_column)
        self._text_index = corpus.text_index
        self.checkpoint_seconds = checkpoint_seconds
        self._published = time.monotonic()
        self._tasks = _plan(output, increment, corpus, self._origin.facts(corpus.digest))
        self._by_shard = {shard.index: task for task in self._tasks for shard in task.shards}
        self._waiting: list[_Task] = []

    def __enter__(self) -> "GrowingSink":
        with reporting(self.out, self._output.staging):
            for task in self._tasks:
                if task.staging.folder.exists():
                    task.prepare(self._origin)
        return self

    def __exit__(self, *exception: object) -> None:
        if exception[0] is None:
            self._publish()

    @property
    def name(self) -> str:
        """How messages and summaries call the output."""
        return str(self.out)

    def tally(self) -> Tally:
        """The counts of what is finished of this run's inputs, by this process and those before it."""
        found = [piece for task in self._tasks for pieces in task.staging.pieces().values() for piece in pieces]
        return sum((piece.tally for piece in found), Tally())

    def pending(self, shards: Sequence[Shard]) -> Iterator[Shard]:
        """The shards that are not finished, in order; `skip` tells how far one is. Publishes inputs in between."""
        wanted = {shard.index for shard in shards}
        for task in self._tasks:
            with reporting(self.out, self._output.staging):
                task.prepare(self._origin)
            pieces = task.staging.pieces()
            self._waiting.append(task)
            for shard in task.shards:
                done = sum(piece.rows for piece in pieces.get(task.local(shard).index, []))
                if done < shard.rows and shard.index in wanted:
                    yield replace(shard, skip=done)
            if time.monotonic() - self._published >= self.checkpoint_seconds:
                self._publish()

    def writer(self, shard: Shard) -> ShardWriter:
        """To add the rows of `shard` that are not done, in order, within a `with` block."""
        task = self._by_shard[shard.index]
        return ShardWriter(task.staging, task.local(shard), self._text_index, self.checkpoint_seconds)

    def finish(self, shards: Sequence[Shard]) -> None:
        """Publish what is not published. Raises NerxError unless every row of `shards` is there."""
        self._publish()
        if self._waiting:
            task = self._waiting[0]
            raise NerxError(f"{self.out}: rows of {task.state.path} are missing ({len(shards)} shards in this run)")
        with reporting(self.out, self._output.staging):
            self._output.finish()

    def _publish(self) -> None:
        """Give every input that is whole its part, then note them."""
        whole = {task.part: task for task in self._waiting if _is_whole(task)}
        if whole:
            with reporting(self.out, self._output.staging):
                records = [_published(task, self._output.folder) for task in whole.values()]
                self._output.add(self._origin, records)
                for task in whole.values():
                    task.staging.remove()
        self._waiting = [task for task in self._waiting if task.part not in whole]
        self._published = time.monotonic()


def _plan(output: GrowingOutput, increment: Increment, corpus: Corpus, facts: Mapping[str, str]) -> tuple[_Task, ...]:
    by_source: dict[int, list[Shard]] = defaultdict(list)
    for shard in corpus.shards():
        by_source[shard.source].append(shard)
    names, copies, tasks = iter(output.new_names()), defaultdict[str, int](int), []
    for number, (work, file) in enumerate(zip(increment.work, corpus.files, strict=True)):
        if (file.path, file.size, file.mtime_ns) != (work.file.path, work.file.size, work.file.mtime_ns):
            raise CorpusError(f"{file.path}: changed during the run; run again")
        part = work.replaces.name if work.replaces else next(names)
        # Named after the content, so that a renamed input finds it again; the number tells copies apart.
        digest = work.state.digest
        folder = output.staging / f"{digest}-{copies[digest]}"
        copies[digest] += 1
        schema = output_schema(corpus.schema, {**facts, **input_facts(work.state)})
        tasks.append(_Task(work.state, part, Staging(folder, schema), tuple(by_source[number])))
    return tuple(tasks)


def _is_whole(task: _Task) -> bool:
    pieces = task.staging.pieces()
    return all(
        sum(piece.rows for piece in pieces.get(task.local(shard).index, [])) == shard.rows for shard in task.shards
    )


def _published(task: _Task, folder: Path) -> PartRecord:
    pieces = [piece for shard in task.shards for piece in task.staging.pieces()[task.local(shard).index]]
    whole = task.staging.folder / "whole.parquet"
    whole.unlink(missing_ok=True)
    if not (len(pieces) == 1 and linked(pieces[0].path, whole)):
        task.staging.merge(whole, pieces)
    path = folder / task.part
    folder.mkdir(exist_ok=True)  # not earlier: a kill should rarely leave an empty folder
    whole.replace(path)
    state = path.stat()
    return PartRecord(task.part, state.st_size, state.st_mtime_ns, sum(piece.rows for piece in pieces), task.state)
