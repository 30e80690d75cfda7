"""The annotated sets that the tag stage learns from, and how one row becomes one training example."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heldout import DEVELOPMENT, HeldOut, read_lines

from nerx.adapters.augment import swap_mentions
from nerx.adapters.dataset import Example, choose_labels, encode
from nerx.engine.label import Label, LabelSet
from nerx.engine.span import Span
from nerx.engine.tagging.prompt import PromptEncoder

LONGEST = 150
"""Source tokens an example may have."""

MOST_LABELS = 18

MOST_CHARACTERS = 600
"""A row with this many or more is left out."""


@dataclass(frozen=True, slots=True)
class Row:
    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class AnnotatedSet:
    """One set's training rows, its labels, and the mentions of each label for swapping."""

    name: str
    rows: tuple[Row, ...]
    labels: LabelSet
    mentions: dict[str, tuple[str, ...]]


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
    held_out = held_out or HeldOut.read(folder)
    rows: dict[str, list[Row]] = {}
    for path in training_files(folder, splits):
        rows.setdefault(path.parent.name, []).extend(training_rows(path, held_out))
    return [_annotated(name, tuple(found)) for name, found in rows.items()]


def training_rows(path: Path, held_out: HeldOut) -> Iterator[Row]:
    """Rows to train on: those that share no text with the development sets."""
    return (row for _, row in read_rows(path) if not held_out.touches(row.text))


def read_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Rows of one file that are short enough to train on, each with its line, from 1."""
    for line, record in enumerate(map(json.loads, read_lines(path)), 1):
        row = Row(record["text"], tuple(Span(e["start"], e["end"], e["label"]) for e in record["entities"]))
        if len(row.text) < MOST_CHARACTERS:
            yield line, row


def _annotated(name: str, rows: tuple[Row, ...]) -> AnnotatedSet:
    found: dict[str, set[str]] = {}
    for row in rows:
        for span in row.spans:
            found.setdefault(span.label, set()).add(row.text[span.start : span.end])
    labels = sorted(found)
    return AnnotatedSet(name, rows, LabelSet.of(*labels), {label: tuple(sorted(found[label])) for label in labels})


class RowSampler:
    """Draws texts without end: sets by capped size, rows joined, mentions swapped, some in lower case."""

    def __init__(self, sets: Sequence[AnnotatedSet]) -> None:
        self._sets = sets
        self._weights = [min(len(one.rows), 6000) ** 0.6 for one in sets]

    def draw(self, rng: random.Random) -> tuple[AnnotatedSet, Row]:
        one = rng.choices(self._sets, self._weights)[0]
        row = self._joined(one, rng)
        if rng.random() < 0.15:
            row = Row(*swap_mentions(row.text, row.spans, one.mentions, rng))
        if rng.random() < 0.12 and len(row.text.lower()) == len(row.text):
            row = Row(row.text.lower(), row.spans)
        return one, row

    def _joined(self, one: AnnotatedSet, rng: random.Random) -> Row:
        """One row, or now and then several as one text, so that longer texts than sentences are known."""
        row = rng.choice(one.rows)
        while rng.random() < 0.3 and len(row.text) < 450:
            row = _join(row, rng.choice(one.rows), rng.choice((" ", " ", "\n")))
        return row


class Sampler:
    """Draws training examples without end: a text of `RowSampler` under a choice of labels, some of them renamed."""

    def __init__(self, sets: Sequence[AnnotatedSet], glossary: dict[str, Any], encoder: PromptEncoder) -> None:
        self._rows = RowSampler(sets)
        self._glossary = glossary
        self._encoder = encoder
        names = [(one.name, name) for one in sets for name in one.labels.names]
        self._ids = {pair: index for index, pair in enumerate(names)}

    def draw(self, rng: random.Random) -> Example:
        one, row = self._rows.draw(rng)
        labels, spans = choose_labels(one.labels, row.spans, rng, most=MOST_LABELS)
        renamed = self._renamed(labels, rng)
        names = dict(zip(labels.names, renamed.names, strict=True))
        ids = {names[name]: self._ids[one.name, name] for name in labels.names}
        spans = tuple(Span(span.start, span.end, names[span.label]) for span in spans)
        source = self._encoder.encode_source(row.text)
        if len(source) > LONGEST:
            source = source.part(0, LONGEST)
            spans = tuple(span for span in spans if span.end <= source.offsets[-1][1])
        return encode(self._encoder, source, spans, renamed, ids)

    def _renamed(self, labels: LabelSet, rng: random.Random) -> LabelSet:
        """Some names replaced by synonyms, and for a quarter of the texts a definition behind each name."""
        described = rng.random() < 0.25
        taken = set(labels.names)
        renamed = []
        for label in labels:
            entry = self._glossary.get(label.name, {"descriptions": [], "synonyms": []})
            free = [name for name in entry["synonyms"] if name not in taken]
            name = rng.choice(free) if free and rng.random() < 0.25 else label.name
            taken.add(name)
            text = rng.choice(entry["descriptions"]) if described and entry["descriptions"] else ""
            renamed.append(Label(name, text))
        return LabelSet(tuple(renamed))


def _join(first: Row, second: Row, between: str) -> Row:
    shift = len(first.text) + len(between)
    moved = tuple(Span(span.start + shift, span.end + shift, span.label) for span in second.spans)
    return Row(first.text + between + second.text, first.spans + moved)
