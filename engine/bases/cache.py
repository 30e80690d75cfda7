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
    """`$NERX_CACHE`, else `nerx` in the user's cache folder of this platform.

    Raises AdapterError when neither can be known: containers may run as a user without a home.
    """
    try:
        if told := os.environ.get(VARIABLE):
            return Path(told).expanduser()
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "nerx"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nerx"
    except RuntimeError as error:
        raise AdapterError(f"there is no home folder to put bases in: set {VARIABLE}=FOLDER") from error


def put(folder: Path, make: Callable[[Path], None], *, need: int, wait: Callable[[], None]) -> Path:
    """`folder`, made by `make` in a folder beside it and renamed when complete, unless it is there already.

    One process makes it; another that comes meanwhile is told by `wait` and then finds it made. need: free bytes that
    the making takes. Raises AdapterError when the disk is full or the place cannot be written; nothing is kept then.
    """
    if folder.is_dir():
        return folder
    if folder.exists():
        raise AdapterError(f"{folder} is a file, and a base is a folder: say another place, or remove it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder.with_name(f".{folder.name}.lock"), wait):
            if not folder.is_dir():
                _require_space(folder, need)
                _make(folder, make)
    except OSError as error:
        raise AdapterError(f"cannot write {folder}: {error.strerror or error}; {_remedy(folder)}") from error
    return folder


def _make(folder: Path, make: Callable[[Path], None]) -> None:
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)  # what a killed process left
    try:
        fresh.mkdir()
        make(fresh)
        _sync(fresh)
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
        path.unlink(missing_ok=True)  # while it is held: filelock takes a lock on a removed file for none
        lock.release()


def _sync(folder: Path) -> None:
    """On the disk before it has its name: after a power cut a folder that is there is whole."""
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _require_space(folder: Path, need: int) -> None:
    free = shutil.disk_usage(folder.parent).free
    if free < need:
        raise AdapterError(
            f"{folder.parent} has {free / 1e6:,.0f} MB free, and preparing the base takes {need / 1e6:,.0f} MB: "
            f"{_remedy(folder)}"
        )


def _remedy(folder: Path) -> str:
    cached = folder.parent == cache_folder()
    return f"free some room there, or say another place{f' with {VARIABLE}=FOLDER' if cached else ''}"
