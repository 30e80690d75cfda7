"""The annotated sets that the recipe's tag stage learns from: the open ones, without what development texts share."""

import json
from collections.abc import Iterator
from pathlib import Path

from heldout import DEVELOPMENT, read_held_out

from nerx.adapters.priming.heldout import HeldOut
from nerx.adapters.priming.sets import AnnotatedSet
from nerx.adapters.reader import read_seeds
from nerx.engine.span import Seed

MOST_CHARACTERS = 600
"""A row with this many or more is left out."""


def training_files(folder: Path, splits: tuple[str, ...] = ("train",)) -> list[Path]:
    """Files of every open set but the development ones; of Few-NERD the test split belongs to `train`, which is small.

    The one list of what the tag stage reads: the base's rivals and the search for leaks go by it too.
    """
    files = []
    for place in sorted(folder.iterdir()):
        if not place.is_dir() or place.name in DEVELOPMENT:
            continue
        if json.loads((place / "meta.json").read_text())["licence_class"] != "open":
            continue
        read = (*splits, "test") if place.name == "fewnerd_inter_base" and "train" in splits else splits
        files += [place / f"{split}.jsonl.zst" for split in read]
    return files


def read_sets(
    folder: Path, splits: tuple[str, ...] = ("train",), held_out: HeldOut | None = None
) -> list[AnnotatedSet]:
    """The sets of `training_files`, without the rows that share a text with the development sets beside them."""
    held_out = held_out or read_held_out(folder)
    rows: dict[str, list[Seed]] = {}
    for path in training_files(folder, splits):
        rows.setdefault(path.parent.name, []).extend(training_rows(path, held_out))
    return [AnnotatedSet.of(name, found) for name, found in rows.items()]


def training_rows(path: Path, held_out: HeldOut) -> Iterator[Seed]:
    """Rows to train on: those that share no text with the development sets."""
    return (row for row in read_rows(path) if not held_out.touches(row.text))


def line_of(row: Seed) -> int:
    """The line of a row in its file, from 1."""
    return int(row.where.rpartition(":")[2])


def read_rows(path: Path) -> Iterator[Seed]:
    """Rows of one file that are short enough to train on."""
    return (row for row in read_seeds(path, training=False).seeds if len(row.text) < MOST_CHARACTERS)
