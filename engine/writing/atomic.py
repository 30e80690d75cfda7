"""Files that are there whole or not at all: temporary name, fsync, rename, fsync. Knows nothing of what is in them."""

import os
from pathlib import Path

TEMPORARY = ".tmp"


class AtomicFile:
    """`with AtomicFile(path) as temporary`: what was written to `temporary` is at `path` after a clean exit.

    After an exception nothing is. A killed process leaves `path` as it was, and a `.tmp` file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(path.name + TEMPORARY)

    def __enter__(self) -> Path:
        return self._temporary

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            self._temporary.unlink(missing_ok=True)
            return
        sync(self._temporary)
        self._temporary.replace(self._path)
        sync(self._path.parent)


def sync(path: Path) -> None:
    """Have the disk hold a file's content, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
