"""Finished cells of a table, one JSON line each, appended the moment they are done: what makes a long run resumable.

A cell is found again by its key, which holds everything that its score depends on; a changed setting, version, base or
test text is another key and another cell. Knows nothing of models or tables.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CellKey:
    """`data` digests seeds and judged texts; `settings` are the contender's options, versions and base, JSON values."""

    row: str
    dataset: str
    shots: int
    draw: int
    texts: int
    data: str
    settings: Mapping[str, object]

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Cell:
    """A score and what it took. `precision`, `recall`, `f1`: strict, micro, percent. Times in seconds.

    `fit_cpu_seconds` is this process's CPU time during the fit: unlike `fit_seconds` it does not grow when another job
    wants the same cores.
    """

    key: CellKey
    precision: float
    recall: float
    f1: float
    fit_seconds: float
    fit_cpu_seconds: float
    extract_seconds: float
    threads: int
    cpu: str
    commit: str
    finished: str
    notes: Mapping[str, object]


class CellStore:
    """Cells in the file `path`, the newest of each key. `fresh` starts with none of them; the file only ever grows."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.path = path
        self._cells: dict[str, Cell] = {} if fresh else _read(path)

    def get(self, key: CellKey) -> Cell | None:
        return self._cells.get(key.digest)

    def add(self, cell: Cell) -> None:
        """Appends and syncs, so that a kill a moment later costs nothing."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            if file.tell() and not _ends_line(self.path):
                file.write(b"\n")  # a run was killed inside a line: close it, so that only that line is lost
            file.write(json.dumps(asdict(cell)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._cells[cell.key.digest] = cell


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _read(path: Path) -> dict[str, Cell]:
    cells: dict[str, Cell] = {}
    if not path.is_file():
        return cells
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            record = json.loads(line)
            cell = Cell(key=CellKey(**record.pop("key")), **record)
        except (ValueError, TypeError, KeyError) as error:
            warnings.warn(f"{path}:{number}: not a cell, skipped ({error})", stacklevel=2)
            continue
        cells[cell.key.digest] = cell
    return cells
