"""The sink of a worker process: one shard of a run that another process, the driver, has opened and will finish.

All of them work in the driver's staging folder, on a filesystem that they share. Two files there keep them apart:
`shard-<number>.lock` is held while a shard is worked on, so that a worker taken for dead and its successor never write
the same shard; and `owner` tells which driver the folder belongs to, which a worker looks at before every batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock

from ..errors import NerxError
from ..reading.corpus import Shard
from ..tally import Tally
from .staging import Staging
from .writer import ShardWriter


@dataclass(frozen=True, slots=True)
class Token:
    """The driver's sign that the run goes on: the file `path` holds `value`. Withdrawn when a `with` block ends."""

    path: Path
    value: str

    @classmethod
    def of(cls, staging: Staging) -> "Token":
        """For the process that holds the output's lock."""
        return cls(staging.owner, staging.owner.read_text())

    def __enter__(self) -> "Token":
        return self

    def __exit__(self, *exception: object) -> None:
        self.withdraw()

    def withdraw(self) -> None:
        """Have every worker stop after its batch, and keep what it has."""
        self.path.unlink(missing_ok=True)

    def is_withdrawn(self) -> bool:
        """Raises NerxError when another driver has taken over: what this worker has not published is dropped then."""
        try:
            value = self.path.read_text()
        except FileNotFoundError:
            return True
        if value != self.value:
            raise NerxError(f"{self.path}: another run has taken over")
        return False


TRIES = 5
"""Of the same rows, before a run gives up on workers that die: a text that kills one would kill each."""


@dataclass(slots=True)
class ShardSink:
    """What :func:`~..run.pipeline.run` asks of a sink, for one shard. Its counts are those of this process alone."""

    staging: Staging
    shard: Shard
    text_index: int
    checkpoint_seconds: float
    _lock: FileLock | None = None

    @property
    def name(self) -> str:
        return f"shard {self.shard.index}"

    @property
    def lock_file(self) -> Path:
        return self.staging.folder / f"shard-{self.shard.index:05d}.lock"

    def __enter__(self) -> "ShardSink":
        """Waits for whoever works on the shard; the system frees the lock of a process that has died."""
        self._lock = FileLock(self.lock_file)
        self._lock.acquire()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._lock is not None:
            self._lock.release()

    def tally(self) -> Tally:
        return Tally()

    def pending(self, shards: Sequence[Shard]) -> Iterator[Shard]:  # noqa: ARG002  # the driver has chosen
        """The shard, unless it is finished."""
        done = sum(piece.rows for piece in self.staging.pieces(self.shard.index).get(self.shard.index, []))
        if done < self.shard.rows:
            self._count_try(done)
            yield replace(self.shard, skip=done)

    def _count_try(self, done: int) -> None:
        """Raises NerxError when TRIES workers of this driver have begun after the `done` rows and gone no further."""
        path = self.lock_file.with_suffix(".tries")
        place = f"{self.staging.owner.read_text() if self.staging.owner.exists() else ''} {done} "
        before = path.read_text() if path.exists() else ""
        count = int(before.removeprefix(place)) if before.startswith(place) else 0
        if count >= TRIES:
            first = self.shard.cut.first_row + done
            raise NerxError(
                f"{self.shard.path}: {TRIES} workers died in turn on the rows from {first:,}, of too little memory "
                "perhaps; what is finished is kept, lower --batch-tokens or --workers and run again"
            )
        path.write_text(f"{place}{count + 1}")

    def writer(self, shard: Shard) -> ShardWriter:
        return ShardWriter(self.staging, shard, self.text_index, self.checkpoint_seconds)

    def finish(self, shards: Sequence[Shard]) -> None:
        """Nothing: the driver assembles the output."""
