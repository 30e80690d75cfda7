"""The cache folder: where converted bases lie, and how one is put there whole, by one process at a time."""

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import AdapterError

VARIABLE = "NERX_CACHE"


def cache_folder() -> Path:
    """`$NERX_CACHE`, else `nerx` in the user's cache folder of this platform."""
    if told := os.environ.get(VARIABLE):
        return Path(told)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "nerx"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nerx"


def put(folder: Path, make: Callable[[Path], None], *, need: int, wait: Callable[[], None]) -> Path:
    """`folder`, made by `make` in a folder beside it and renamed when complete, unless it is there already.

    One process makes it; another that comes meanwhile is told by `wait` and then finds it made. need: free bytes that
    the making takes. Raises AdapterError when the disk is full or the place cannot be written.
    """
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder.with_name(f".{folder.name}.lock"), wait):
            if not folder.is_dir():
                _require_space(folder.parent, need)
                _make(folder, make)
    except OSError as error:
        raise AdapterError(
            f"cannot write {folder.parent}: {error.strerror or error}; free some room there, or say another place with "
            f"{VARIABLE}=FOLDER"
        ) from error
    return folder


def _make(folder: Path, make: Callable[[Path], None]) -> None:
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)  # what a killed process left
    try:
        fresh.mkdir()
        make(fresh)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


@contextlib.contextmanager
def _alone(path: Path, wait: Callable[[], None]) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        wait()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _require_space(folder: Path, need: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < need:
        raise AdapterError(
            f"{folder} has {free / 1e6:,.0f} MB free, and preparing the base takes {need / 1e6:,.0f} MB: free some "
            f"room there, or say another place with {VARIABLE}=FOLDER"
        )
