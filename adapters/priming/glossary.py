"""Other names and definitions of labels, so that a model learns to read the labels and not to know them by heart."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...engine.errors import SeedError
from ..reader import read_file, read_labels

EXAMPLE = '{"city": {"synonyms": ["town"], "descriptions": ["a place where people live"]}}'


@dataclass(frozen=True, slots=True)
class Entry:
    """What a label may also be called, and what may stand behind its name."""

    synonyms: tuple[str, ...] = ()
    descriptions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Glossary:
    """Entries by the name of their label."""

    entries: Mapping[str, Entry] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, told: Mapping[str, Mapping[str, Any]]) -> "Glossary":
        """From label names to lists `synonyms` and `descriptions`; either list may be missing."""
        return cls({name: Entry(*(tuple(entry.get(key, ())) for key in _LISTS)) for name, entry in told.items()})

    @classmethod
    def read(cls, path: Path) -> "Glossary":
        """Read a file of synonyms and descriptions, or one of definitions as `fit --labels` takes it.

        Raises SeedError for a file that is neither.
        """
        try:
            told = json.loads(read_file(path))
        except ValueError:
            told = None
        if isinstance(told, dict) and any(isinstance(entry, dict) for entry in told.values()):
            for name, entry in told.items():
                _check(path, name, entry)
            return cls.from_dict(told)
        return cls({label.name: Entry((), (label.description,)) for label in read_labels(path) if label.description})

    def of(self, label: str) -> Entry:
        """The entry of a label; an empty one for a label that has none."""
        return self.entries.get(label, _NOTHING)


_LISTS = ("synonyms", "descriptions")
_NOTHING = Entry()


def _check(path: Path, name: str, entry: Any) -> None:
    if not isinstance(entry, dict) or not entry.keys() <= set(_LISTS):
        raise SeedError([f"{path}: the entry of {name!r} has other keys than {', '.join(_LISTS)}; write {EXAMPLE}"])
    for key, values in entry.items():
        if not isinstance(values, list) or not all(isinstance(one, str) and one.strip() for one in values):
            raise SeedError([f"{path}: {key} of {name!r} is no list of texts; write {EXAMPLE}"])
        if any(len(one.splitlines()) > 1 for one in values):
            raise SeedError([f"{path}: {key} of {name!r} has a text of more than one line; write one line"])
