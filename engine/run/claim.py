"""The part of a worker process in a run that another process, the driver, has opened and will finish: one shard.

All of them work in the driver's staging folder, on a filesystem that they share. Two files there keep them apart:
`shard-<number>.lock` is held while a shard is worked on, so that a worker taken for dead and its successor never write
the same shard; and `owner` tells which driver the folder belongs to, which a worker looks at before every batch.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock

from ..errors import NerxError
from ..reading.corpus import Shard
from ..writing.staging import Staging

TRIES = 5
"""Of the same rows, before a run gives up on workers that die: a text that kills one would kill each."""


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


class Claim:
    """The right to work on `shard`, which one process has at a time. Use as a context manager.

    Entering waits for whoever works on the shard; the system frees the claim of a process that has died.
    """

    def __init__(self, staging: Staging, shard: Shard) -> None:
        self._staging = staging
        self._shard = shard
        self._path = staging.folder / f"shard-{shard.index:05d}.lock"
        self._lock = FileLock(self._path)

    def __enter__(self) -> "Claim":
        self._lock.acquire()
        return self

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    def pending(self) -> Shard | None:
        """The shard, with what is done of it to be skipped; None when it is finished. Counts as a try.

        Raises NerxError when TRIES workers of this driver have begun after the same rows and gone no further.
        """
        done = sum(piece.rows for piece in self._staging.pieces(self._shard.index).get(self._shard.index, []))
        if done >= self._shard.rows:
            return None
        self._count_try(done)
        return replace(self._shard, skip=done)

    def _count_try(self, done: int) -> None:
        path = self._path.with_suffix(".tries")
        place = f"{self._staging.owner.read_text() if self._staging.owner.exists() else ''} {done} "
        before = path.read_text() if path.exists() else ""
        count = int(before.removeprefix(place)) if before.startswith(place) else 0
        if count >= TRIES:
            first = self._shard.cut.first_row + done
            raise NerxError(
                f"{self._shard.path}: {TRIES} workers died in turn on the rows from {first:,}, of too little memory "
                "perhaps; what is finished is kept, lower --batch-tokens or --workers and run again"
            )
        path.write_text(f"{place}{count + 1}")
