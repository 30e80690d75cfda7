"""spaCy's NER on a blank pipeline: no pretrained weights, its own training loop with compounding batches.

Settings were chosen on development splits of sets that no table uses: see `tune_rivals.py` and its results.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from nerx.engine.span import Seed, Span

from ..dataset import Task
from ..machine import package_version
from .contender import MissingRivalError, Predict, Prediction

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.training import Example


@dataclass(frozen=True, slots=True)
class SpacySettings:
    """`batch_start`, `batch_stop`, `batch_growth`: spaCy's compounding batch size, in texts.

    Mean dev F1 over wikigold and crossner_ai at 5 and 20 shots, dropout 0.1 / 0.35: 20 epochs 17.5 / 12.8, 40 epochs
    22.5 / 21.8, 80 epochs 22.5 / 23.0.
    """

    epochs: int = 80
    dropout: float = 0.35
    batch_start: float = 4.0
    batch_stop: float = 32.0
    batch_growth: float = 1.001


class SpacyBlank:
    """The row `spacy`."""

    rows = ("spacy",)
    seeded = True

    def __init__(self, settings: SpacySettings | None = None) -> None:
        self._settings = settings or SpacySettings()

    def settings(self, row: str) -> Mapping[str, object]:
        if not (version := package_version("spacy")):
            raise MissingRivalError(row, "spacy")
        return {"spacy": version, **asdict(self._settings)}

    def prepare(self) -> None:
        """A blank pipeline knows nothing before the seeds."""

    def fit(self, task: Task) -> "FittedSpacy":
        import spacy
        from spacy.util import minibatch
        from thinc.api import fix_random_seed

        fix_random_seed(task.draw)
        shuffler = random.Random(task.draw)
        pipeline = spacy.blank(task.language)
        recogniser = pipeline.add_pipe("ner")
        for label in task.labels:
            recogniser.add_label(label)  # type: ignore[attr-defined]
        examples = [_example(pipeline, seed) for seed in task.seeds]
        optimizer = pipeline.initialize(lambda: examples)
        sizes = _compounding(self._settings)
        for _ in range(self._settings.epochs):
            shuffler.shuffle(examples)
            for batch in minibatch(examples, size=sizes):
                pipeline.update(batch, sgd=optimizer, drop=self._settings.dropout)
        return FittedSpacy(pipeline)


class FittedSpacy:
    def __init__(self, pipeline: "Language") -> None:
        self._pipeline = pipeline

    def predictor(self, row: str) -> Predict:  # noqa: ARG002 (there is but one)
        return self._predict

    def _predict(self, texts: Sequence[str]) -> Prediction:
        return [
            tuple(Span(entity.start_char, entity.end_char, entity.label_) for entity in document.ents)
            for document in self._pipeline.pipe(texts)
        ]

    def notes(self) -> Mapping[str, object]:
        return {}


def _compounding(settings: SpacySettings) -> Iterator[float]:
    # Written out: spaCy's own `compounding` moved between thinc versions, and runs through all epochs alike.
    size = settings.batch_start
    while True:
        yield size
        size = min(size * settings.batch_growth, settings.batch_stop)


def _example(pipeline: "Language", seed: Seed) -> "Example":
    """Gold spans widened to spaCy's token borders: dropping the misaligned ones would starve it of seeds."""
    from spacy.training import Example
    from spacy.util import filter_spans

    predicted, reference = pipeline.make_doc(seed.text), pipeline.make_doc(seed.text)
    spans = [reference.char_span(span.start, span.end, span.label, alignment_mode="expand") for span in seed.spans]
    reference.ents = filter_spans([span for span in spans if span is not None])
    return Example(predicted, reference)
