"""Digests of large files, remembered in the cache folder. A file with the same size, times and inode is not read again.

Only a convenience: what cannot be read or written there is computed each time.
"""

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import AdapterError
from .cache import cache_folder

FILE = "digests.json"

LARGE = 1 << 22
"""Bytes. A smaller file is read within milliseconds, and is read each time."""

_CLOCK_NS = 2_000_000_000
"""A file changed this shortly before it was read may change again and keep its time: FAT counts in 2 s."""

_State = list[int]
"""Size, time of the last change of the content, time of the last change of anything, inode, device."""


def remembered(path: Path, compute: Callable[[Path], str]) -> str:
    """`compute(path)`, or what it gave when the file was last read, if the file is large and has not changed since."""
    state, now = _state(path), time.time_ns()
    if state[0] < LARGE:
        return compute(path)
    name, known = str(path.resolve()), _read()
    noted = known.get(name)
    if isinstance(noted, list) and noted[:-1] == state:
        return str(noted[-1])
    digest = compute(path)
    if _state(path) == state and max(state[1:3]) < now - _CLOCK_NS:
        _note(name, [*state, digest])
    return digest


def _state(path: Path) -> _State:
    state = path.stat()
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_dev]


def _read() -> dict[str, object]:
    try:
        known = json.loads((cache_folder() / FILE).read_text(encoding="utf-8", errors="surrogateescape"))
    except (OSError, ValueError, AdapterError):
        return {}
    return known if isinstance(known, dict) else {}


def _note(name: str, record: list[object]) -> None:
    """Write the file anew, in one step. Of two processes that do so at once, one computes its digest again later."""
    with contextlib.suppress(OSError, AdapterError):
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        known = {path: noted for path, noted in _read().items() if Path(path).exists()} | {name: record}
        descriptor, fresh = tempfile.mkstemp(prefix=f".{FILE}.", dir=folder)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
                json.dump(known, file, ensure_ascii=False)
            Path(fresh).replace(folder / FILE)
        except OSError:
            Path(fresh).unlink(missing_ok=True)
            raise
