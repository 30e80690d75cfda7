"""Lets many worker processes share one run: each claims a shard. The driver opens the run and finishes it.

All workers write to the driver's staging folder, on a filesystem that they share. Two files there keep them apart.
A worker holds `shard-<number>.lock` while it works on a shard. So a worker that seemed dead and its successor never
write the same shard. `owner` names the driver of the folder, and a worker reads it before every batch.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock

from ..errors import NerxError
from ..reading.corpus import Shard
from ..writing.staging import Staging

TRIES = 5
"""Workers may die so often on the same rows before the run gives up. A text that kills one worker would kill each."""


@dataclass(frozen=True, slots=True)
class Token:
    """The driver's sign that the run goes on: the file `path` holds `value`. The end of a `with` block withdraws it."""

    path: Path
    value: str

    @classmethod
    def of(cls, staging: Staging) -> "Token":
        """The token of the process that holds the output's lock."""
        return cls(staging.owner, staging.owner.read_text())

    def __enter__(self) -> "Token":
        return self

    def __exit__(self, *exception: object) -> None:
        self.withdraw()

    def withdraw(self) -> None:
        """Tell every worker to stop after its batch. It keeps the rows that it has."""
        self.path.unlink(missing_ok=True)

    def is_withdrawn(self) -> bool:
        """Whether the driver asks workers to stop.

        Raises NerxError when another driver has taken over. This worker then drops the rows that it has not published.
        """
        try:
            value = self.path.read_text()
        except FileNotFoundError:
            return True
        if value != self.value:
            raise NerxError(f"{self.path}: another run has taken over")
        return False


class Claim:
    """The right to work on `shard`. One process has it at a time. Use it as a context manager.

    It waits on entry while another process works on the shard. The system frees the claim of a process that dies.
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
        """The shard, which skips the rows that are done; None when it is finished. Each call counts as a try.

        Raises NerxError when TRIES workers of this driver began at the same row and none finished a piece.
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
                f"{self._shard.path}: {TRIES} workers died one after another on the rows from {first:,}, perhaps for "
                "lack of memory; finished rows are kept: lower --batch-tokens or --workers and run again"
            )
        path.write_text(f"{place}{count + 1}")
