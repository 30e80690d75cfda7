"""Annotated sets for the tag stage: which files belong to a set, and its rows, labels and mentions."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...engine.bases.digest import combined
from ...engine.errors import SeedError
from ...engine.label import LabelSet
from ...engine.span import Seed
from ..augment import mentions_of
from ..reader import read_seeds

ENDS = (".jsonl", ".jsonl.zst")
"""How the name of a file with annotated texts ends."""


@dataclass(frozen=True, slots=True)
class AnnotatedSet:
    """One set's training rows, its labels in alphabetical order, and the mentions of each label for swapping."""

    name: str
    rows: tuple[Seed, ...]
    labels: LabelSet
    mentions: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, name: str, rows: Sequence[Seed]) -> "AnnotatedSet":
        """The set of these rows. Raises InputError where no row has a mention."""
        mentions = mentions_of(rows)
        labels = sorted(mentions)
        return cls(name, tuple(rows), LabelSet.of(*labels), {label: mentions[label] for label in labels})


@dataclass(frozen=True, slots=True)
class SetSource:
    """Where one set comes from. `origin` and `licence` are what `meta.json` beside its files says, or empty."""

    name: str
    files: tuple[Path, ...]
    origin: str = ""
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A set as it was read: `digest` is that of its files, and `left_out` counts the rows that may not be used."""

    source: SetSource
    content: AnnotatedSet
    digest: str
    left_out: int


def files_in(folder: Path) -> list[Path]:
    """All files with annotated texts in a set's folder, sorted. None where there is no such folder."""
    return sorted(path for end in ENDS for path in folder.glob(f"*{end}"))


def set_folders(folders: Sequence[Path]) -> list[Path]:
    """The folders of all sets: each given folder is a set, or holds sets. Raises SeedError where it is neither."""
    found = []
    for folder in folders:
        if not folder.is_dir():
            raise SeedError([f"{folder}: no such folder; give a folder with .jsonl files, or a folder of such folders"])
        sets = [folder] if files_in(folder) else [place for place in sorted(folder.iterdir()) if files_in(place)]
        if not sets:
            raise SeedError([f"{folder}: no .jsonl or .jsonl.zst file, here or one folder down; check the path"])
        found += sets
    names = [place.resolve().name for place in found]
    if clash := next((name for name in names if names.count(name) > 1), None):
        raise SeedError([f"two sets are called {clash!r}; rename one of the folders, or give each set once"])
    return found


def find_sets(folders: Sequence[Path]) -> list[SetSource]:
    """The sets in these folders. A set with a `train` file is read from that file alone: the rest is for measuring."""
    return [_source(folder) for folder in set_folders(folders)]


def _source(folder: Path) -> SetSource:
    files = files_in(folder)
    training = [path for path in files if path.name in {f"train{end}" for end in ENDS}]
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        meta = None
    told = meta if isinstance(meta, dict) else {}
    origin, licence = (str(told.get(name, "")) for name in ("source", "licence"))
    return SetSource(folder.resolve().name, tuple(training or files), origin, licence)


def read_set(source: SetSource, is_held_out: Callable[[str], bool]) -> Found:
    """Read the files of one set. Raises SeedError for every bad line, and where no row with a mention is left."""
    problems: list[str] = []
    rows: list[Seed] = []
    digests = []
    for path in source.files:
        try:
            read = read_seeds(path, training=False)
        except SeedError as error:
            problems += error.problems
        else:
            rows += read.seeds
            digests.append(read.digest)
    if problems:
        raise SeedError(problems)
    kept = [row for row in rows if not is_held_out(row.text)]
    if not any(row.spans for row in kept):
        raise SeedError([f"{source.files[0].parent}: all texts with entities are held out; leave this set away"])
    return Found(source, AnnotatedSet.of(source.name, kept), combined(*digests), len(rows) - len(kept))
