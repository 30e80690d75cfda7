"""The NER sets of `shared/data/ner`, cut into few-shot tasks: K-shot seeds to learn from, texts to be judged on.

Offsets are half-open code points, as in nerx. Knows nothing of models or scores.
"""

import hashlib
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import pyarrow as pa

from nerx.engine.span import Seed, Span

DEFAULT_DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "ner"
SUBSET_SEED = 0
"""Fixes which texts of a split are judged; the same ones for every row, draw and shot count."""


class DataError(Exception):
    """A set, a seeds file or a split that is not there; the message is for the terminal."""


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to learn: `seeds` (draw `draw` of `shots`-shot seeds of `dataset`), then find `labels` in `texts`.

    With 0 shots there is nothing to learn from: no seeds, and no file of them.
    """

    dataset: str
    shots: int
    draw: int
    language: str
    labels: tuple[str, ...]
    seeds_path: Path | None
    seeds: tuple[Seed, ...]
    test: tuple[Seed, ...]

    @property
    def name(self) -> str:
        return f"{self.dataset} {self.shots}-shot draw {self.draw}"

    @property
    def texts(self) -> list[str]:
        return [document.text for document in self.test]

    @property
    def gold(self) -> list[tuple[Span, ...]]:
        return [document.spans for document in self.test]

    @property
    def digest(self) -> str:
        """16 hex digits over labels, seeds and test texts with their spans: what a score depends on but the model."""
        content = [
            self.labels,
            *((document.text, [span.key for span in document.spans]) for document in (*self.seeds, *self.test)),
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def load_task(
    data: Path, dataset: str, shots: int, draw: int, *, texts: int, split: Literal["dev", "test"] = "test"
) -> Task:
    """One task of the set `dataset` under the folder `data`, judged on at most `texts` texts of `split` (0 = all).

    Raises DataError when a file is missing, or when the seeds lack a label of the set.
    """
    folder = data / dataset
    if not folder.is_dir():
        there = ", ".join(sorted(path.name for path in data.glob("*/"))) or "nothing"
        raise DataError(f"no data set {dataset!r} in {data}; found: {there}; give the folder of the sets with --data")
    seeds_path = folder / f"seeds_{shots}shot_{draw}.jsonl" if shots else None
    seeds = read_documents(seeds_path) if seeds_path else ()
    labels = tuple(sorted(set(json.loads((folder / "labels.json").read_text()).values())))
    seeded = {span.label for seed in seeds for span in seed.spans}
    if seeds_path and seeded != set(labels):
        raise DataError(f"{seeds_path}: its labels differ from labels.json in {sorted(seeded ^ set(labels))}")
    return Task(
        dataset=dataset,
        shots=shots,
        draw=draw,
        language=json.loads((folder / "meta.json").read_text())["language"],
        labels=labels,
        seeds_path=seeds_path,
        seeds=seeds,
        test=subset(read_documents(folder / f"{split}.jsonl.zst"), texts),
    )


@cache
def read_documents(path: Path) -> tuple[Seed, ...]:
    """Annotated texts of a `.jsonl` or `.jsonl.zst` file, spans sorted. Raises DataError when it is missing."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    with pa.input_stream(str(path)) as stream:  # unpacks .zst by its suffix
        lines: Iterable[str] = stream.read().decode("utf-8").splitlines()
    return tuple(_document(json.loads(line), f"{path}:{number}") for number, line in enumerate(lines, 1))


def _document(record: dict[str, object], where: str) -> Seed:
    entities = record["entities"]
    assert isinstance(entities, list), where
    spans = sorted(Span(entity["start"], entity["end"], entity["label"]) for entity in entities)
    return Seed(str(record["text"]), tuple(spans), where)


def subset(documents: tuple[Seed, ...], size: int) -> tuple[Seed, ...]:
    """`size` documents drawn with SUBSET_SEED, in file order; all when `size` is 0 or there are no more than that."""
    if size == 0 or size >= len(documents):
        return documents
    chosen = sorted(random.Random(SUBSET_SEED).sample(range(len(documents)), size))
    return tuple(documents[index] for index in chosen)
