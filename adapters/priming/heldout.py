"""Held-out sets as an index: does a training text hold one of their texts, or a run of 13 words from one?

The index is built from the sets themselves, so that nobody has to keep a list of texts.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..reader import read_texts
from .sets import files_in

RUN = 13
"""Words in a row that count as the same text, as in Brown et al. 2020, "Language Models are Few-Shot Learners"."""

FEWEST = 6
"""Words that a text shorter than RUN must have to be looked for inside longer ones: fewer meet by chance."""

Kind = Literal["exact", "contained", "run"]

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Place:
    """A text of a set: its file in the set's folder and its line, from 1."""

    dataset: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Match:
    """`exact`: the same text. `contained`: the held-out text, 6 to 12 words, is within. `run`: 13 words of it are."""

    kind: Kind
    place: Place


def words(text: str) -> list[str]:
    """Letters and digits of `text` in runs, compatibility forms and case folded; all else separates."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


class HeldOut:
    """Held-out texts by what would betray them in a training text.

    Runs and short texts are filed under their first FEWEST words, so that one look-up a word settles most texts.
    """

    def __init__(self) -> None:
        self.texts = 0
        self._whole: dict[str, list[Place]] = {}
        self._pieces: dict[str, list[tuple[list[str], Match]]] = {}

    @classmethod
    def read(cls, sets: Sequence[Path]) -> "HeldOut":
        """Every text of these sets, each given by its folder. Raises SeedError for a line without a text."""
        held = cls()
        for folder in sets:
            for path in files_in(folder):
                for line, text in read_texts(path):
                    held.add(text, Place(folder.name, path.name, line))
        return held

    def add(self, text: str, place: Place) -> None:
        """A text without letters and digits is counted, but cannot be found again."""
        self.texts += 1
        found = words(text)
        if not found:
            return
        kind: Kind
        # Joined without spaces, so that "do n't" and "don't" are the same text.
        self._whole.setdefault("".join(found), []).append(place)
        if len(found) >= RUN:
            pieces, kind = _runs(found, RUN), "run"
        else:
            pieces, kind = iter([found] if len(found) >= FEWEST else []), "contained"
        for piece in pieces:
            self._pieces.setdefault(" ".join(piece[:FEWEST]), []).append((piece, Match(kind, place)))

    def matches(self, text: str) -> set[Match]:
        """All that `text` shares with held-out texts; of a text that is the same, only that."""
        found = words(text)
        shared = {
            match
            for at, start in enumerate(_runs(found, FEWEST))
            for piece, match in self._pieces.get(" ".join(start), ())
            if found[at : at + len(piece)] == piece
        }
        same = self._whole.get("".join(found), ())
        return {match for match in shared if match.place not in same} | {Match("exact", place) for place in same}

    def touches(self, text: str) -> bool:
        """Whether `text` shares anything with a held-out text, which is to say: must not be trained on."""
        return bool(self.matches(text))


def _runs(found: list[str], size: int) -> Iterator[list[str]]:
    return (found[at : at + size] for at in range(len(found) - size + 1))
