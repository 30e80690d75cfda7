"""One writer an output: a lock that the system drops when its process dies, so a stale one holds nobody up."""

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import OutputLockedError


class OutputLock:
    """The right to write `out`, as a lock on `path`. Use as a context manager, or `acquire_for` and `release`.

    Raises OutputLockedError at once on entry while another process, or another lock of this one, holds it.
    """

    def __init__(self, path: Path, out: object) -> None:
        self._path = path
        self._out = out
        self._lock = FileLock(path, timeout=0)

    def __enter__(self) -> "OutputLock":
        self.acquire()
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def acquire(self) -> None:
        try:
            self._lock.acquire()
        except Timeout:
            raise OutputLockedError(f"{self._out}: another run is writing it; try again when it is done") from None

    def acquire_for(self, opening: Callable[[], None]) -> None:
        """Acquire it and do `opening`; when that fails, release it. For the `__enter__` of what holds the lock."""
        self.acquire()
        try:
            opening()
        except BaseException:
            self.release()
            raise

    def release(self, *, remove: bool = True) -> None:
        if remove:
            # While it is held: filelock takes a lock on a removed file for none, so no two runs can hold it.
            self._path.unlink(missing_ok=True)
        self._lock.release()


def require_unlocked(path: Path, out: object) -> None:
    """Raises OutputLockedError while another process holds the lock: to ask before long preparations.

    A lock file that a dead process has left stays, since it tells that a run was cut short.
    """
    if path.exists():
        lock = OutputLock(path, out)
        lock.acquire()
        lock.release(remove=False)
