"""The folder of a run that is not finished: its checkpoint, its log, and what it was told, beside `--out`."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...engine.errors import InputError, OutputError, OutputLockedError
from .checkpoint import load, open_log, save
from .learner import Point


class Work:
    """One unfinished run. `told` names all that decides on the weights but the number of tokens."""

    def __init__(self, folder: Path, told: Mapping[str, str]) -> None:
        self.folder, self._told = folder, dict(told)

    def load(self) -> dict[str, Any] | None:
        """The last checkpoint, if there is one.

        Raises InputError when it is of a run with other options or sets, and when it is damaged.
        """
        if not self._checkpoint.is_file():
            return None
        saved = load(self._checkpoint)
        told = saved["told"]
        if other := [name for name in sorted(self._told) if told.get(name) != self._told[name]]:
            changes = ", ".join(f"{name} was {told.get(name)!r} and is {self._told[name]!r}" for name in other)
            raise InputError(
                f"{self.folder} holds a run that began otherwise: {changes}; say the same again, or remove that folder"
            )
        return saved

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint in one step. Raises OutputError when there is no room."""
        try:
            save({**state, "told": self._told}, self._checkpoint)
        except OSError as error:
            raise OutputError(f"cannot write {self._checkpoint}: {error}; free some room there and go on") from error

    @contextmanager
    def log(self, tokens: int) -> Iterator["Log"]:
        """The log of a run that goes on at `tokens` tokens. Raises OutputError when it cannot be written."""
        try:
            with open_log(self._log, tokens) as file:
                yield Log(file)
        except OSError as error:
            raise OutputError(f"cannot write {self._log}: {error.strerror or error}; free some room there") from error

    def curve(self, points: int = 24) -> list[dict[str, Any]]:
        """Evenly spaced records of the log, the first and the last among them."""
        records = [json.loads(line) for line in self._log.read_text(encoding="utf-8").splitlines()]
        chosen = sorted({(len(records) - 1) * k // (points - 1) for k in range(points)}) if records else []
        return [records[at] for at in chosen]

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoint.safetensors"

    @property
    def _log(self) -> Path:
        return self.folder / "log.jsonl"


class Log:
    """A line a step, flushed with every checkpoint at the latest."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def add(self, point: Point) -> None:
        """Write a line."""
        told = {name: round(value, 4) for name, value in asdict(point).items()}
        self._file.write(json.dumps(told) + "\n")

    def flush(self) -> None:
        """Have what was written outlive this process."""
        self._file.flush()


def work_folder(out: Path) -> Path:
    """Where the run that makes `out` keeps what is not finished."""
    return out.with_name(f"{out.name}.part")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Make the folder and hold it while entered. Raises OutputLockedError when another run holds it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {folder}: {error.strerror}; say --out for another place") from error
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise OutputLockedError(f"another run primes a base in {folder}: wait for it, or say another --out") from None
    try:
        yield
    finally:
        lock.release()
