"""MiniLM token classification that first went through the base's tag stage, then learns from the seeds.

The rival that has seen what the base has: the same sets, and of their rows a fifth more. It learns BIO over words with
one union head of all sets' labels, labels of the same name shared; of a set's rows only that set's labels compete,
since a set without persons says nothing about persons. The head is then thrown away, and every task gets a new one.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nerx.adapters.priming.sets import AnnotatedSet
from nerx.engine.span import Seed

from ..dataset import Task
from . import bio
from .minilm import FittedMiniLM, MiniLM, MiniLMSettings, Window, WindowReader, encoder_folder, pad, quiet
from .tag_stage import TagStage, TagStageSettings

if TYPE_CHECKING:
    import torch

SEED_STAGE = MiniLMSettings(rate=1e-4, steps=400)

TOKENS = 4_225_169
"""Length of the tag stage: 95,744 rows. The embedded base read 80,640, in more tokens: prompts and answers."""


class MiniLMFair:
    """The row `minilm fair`. `data`: folder of the annotated sets. `tokens`: length of the tag stage, 0 for TOKENS."""

    rows = ("minilm fair",)
    seeded = True

    def __init__(self, data: Path, tokens: int = 0, settings: MiniLMSettings = SEED_STAGE) -> None:
        self._stage = TagStage("minilm", TokenStudent, TagStageSettings(tokens or TOKENS), data)
        self._settings = settings

    def settings(self, row: str) -> Mapping[str, object]:
        return {**MiniLM(self._settings).settings(row), "tag_stage": dict(self._stage.key)}

    @property
    def stage_tokens(self) -> int:
        """Length of the tag stage, in tokens of this rival's input."""
        return self._stage.tokens

    @property
    def folder(self) -> Path:
        """Where the tag stage's work and outcome lie."""
        return self._stage.folder

    def prepare(self) -> None:
        self._stage.outcome()

    def fit(self, task: Task) -> FittedMiniLM:
        return MiniLM(self._settings, self._stage.outcome()).fit(task)


@dataclass(frozen=True, slots=True)
class Lesson:
    """A row as tokens, the tag of each of its words, and the set that it is from."""

    window: Window
    tags: list[int]
    dataset: int

    def __len__(self) -> int:
        return len(self.window.ids)


class TokenStudent:
    """The encoder with the union head."""

    def __init__(self, sets: Sequence[AnnotatedSet]) -> None:
        import torch
        from transformers import AutoModelForTokenClassification

        quiet()
        self._names = [one.name for one in sets]
        self._labels = sorted({name for one in sets for name in one.labels.names})
        self._reader = WindowReader(MiniLMSettings().max_tokens)
        tags = bio.tag_names(self._labels)
        self._allowed = torch.zeros(len(sets), len(tags), dtype=torch.bool)  # (sets, tags)
        for place, one in enumerate(sets):
            self._allowed[place] = torch.tensor([tag == "O" or tag[2:] in one.labels.names for tag in tags])
        self.network: torch.nn.Module = AutoModelForTokenClassification.from_pretrained(
            encoder_folder(), num_labels=len(tags)
        )

    def is_fresh(self, weight: str) -> bool:
        return weight.startswith("classifier")

    def example(self, dataset: AnnotatedSet, row: Seed, rng: random.Random) -> Lesson:  # noqa: ARG002 (nothing is drawn)
        window = self._reader.windows(row.text)[0]
        return Lesson(window, bio.encode(window.words, row.spans, self._labels), self._names.index(dataset.name))

    def loss(self, examples: Sequence[Lesson]) -> "torch.Tensor":
        """Cross-entropy over words, among the tags of the word's own set."""
        import torch

        logits = self.network(**pad([lesson.window.ids for lesson in examples])).logits  # (batch, seq, tags)
        rows = [row for row, lesson in enumerate(examples) for _ in lesson.tags]
        heads = [head for lesson in examples for head in lesson.window.heads]
        allowed = self._allowed[[lesson.dataset for lesson in examples for _ in lesson.tags]]  # (words, tags)
        scores = logits[rows, heads].float().masked_fill(~allowed, float("-inf"))
        return torch.nn.functional.cross_entropy(scores, torch.tensor([tag for one in examples for tag in one.tags]))

    def save(self, folder: Path) -> None:
        """The encoder without its head."""
        self.network.base_model.save_pretrained(folder)
