"""Which input each part of a growing output was made from, kept where it is read in milliseconds.

Every part says so itself, in its Parquet metadata; the manifest is an index over these. A part whose size or time is
not as noted is asked again, so that manifest and parts cannot disagree, whatever was killed, copied or removed.

It lies beside the folder, hidden, and not in it: polars 2.1 refuses to scan a folder that holds any file or
subfolder besides Parquet, whatever its name begins with. Knows no Parquet.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import OutputError
from ..origin import Origin
from .atomic import AtomicFile

CLOCK_NS = 2_000_000_000
"""A file changed this shortly before it was looked at may change again and keep its time: FAT counts in 2 s."""


@dataclass(frozen=True, slots=True)
class InputState:
    """An input as it was when its content was digested. `path` is absolute; times are nanoseconds since the epoch."""

    path: str
    size: int
    mtime_ns: int
    checked_ns: int
    digest: str

    def vouches_for(self, size: int, mtime_ns: int) -> bool:
        """Whether a file of this size and time has this content for sure, as git's index decides it."""
        return (self.size, self.mtime_ns) == (size, mtime_ns) and mtime_ns < self.checked_ns - CLOCK_NS


@dataclass(frozen=True, slots=True)
class PartRecord:
    """A part in the folder, `size` and `mtime_ns` of its file, and the input whose rows it holds, all of them."""

    name: str
    size: int
    mtime_ns: int
    rows: int
    input: InputState


@dataclass(frozen=True, slots=True)
class Manifest:
    """The parts of one folder, and what decided on all of them: of `origin` no more is kept. None without parts."""

    origin: Origin | None
    parts: tuple[PartRecord, ...]

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """What was noted of `folder`; nothing where there is no file, or one that does not read."""
        try:
            record = json.loads(manifest_file(folder).read_text(encoding="utf-8", errors="surrogateescape"))
            return cls(record["facts"] and Origin(**record["facts"]), tuple(_part(part) for part in record["parts"]))
        except (OSError, ValueError, KeyError, TypeError):
            return cls(None, ())

    def settled(self, folder: Path, ask: Callable[[Path], tuple[Origin, PartRecord]]) -> "Manifest":
        """What `folder` holds now: `ask` tells of the parts that are not as noted.

        Raises OutputError when parts were made in different ways, and what `ask` raises.
        """
        noted = {part.name: part for part in self.parts}
        origin, parts = self.origin, []
        for entry in _scan(folder):
            part, state = noted.get(entry.name), entry.stat()
            if part is None or (part.size, part.mtime_ns) != (state.st_size, state.st_mtime_ns):
                said, part = ask(folder / entry.name)
                origin = origin or said
                if said.deciding != origin.deciding:
                    raise OutputError(f"{folder / entry.name}: was made in another way than the parts beside it")
            parts.append(part)
        return Manifest(origin if parts else None, tuple(parts))

    def write(self, folder: Path) -> None:
        """Replace the file in one step."""
        parts = [asdict(part) for part in self.parts]
        text = json.dumps({"facts": self.origin and self.origin.deciding, "parts": parts}, ensure_ascii=False)
        with AtomicFile(manifest_file(folder)) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


def manifest_file(folder: Path) -> Path:
    """Beside the folder; may be removed at any time, and is then made again from the parts."""
    return folder.with_name(f".{folder.name}.nerx-manifest.json")


def _part(record: Mapping[str, Any]) -> PartRecord:
    return PartRecord(**{**record, "input": InputState(**record["input"])})


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)
