"""Measures an adapter on annotated texts, with the same extractor that production uses."""

from collections.abc import Sequence

from ..engine.review.metrics import Evaluation, evaluate
from ..engine.span import Seed
from ..engine.tagging.extractor import Extractor


def evaluate_adapter(extractor: Extractor, seeds: Sequence[Seed]) -> Evaluation:
    """Strict scores over `seeds`, asking for all labels in every text. A text that fails counts as nothing found."""
    texts = [seed.text for seed in seeds]
    found = [extraction.spans or () for extraction in extractor.extract(texts)]
    return evaluate(
        [seed.spans for seed in seeds], found, texts, labels=extractor.labels.names, seen=extractor.card.seen
    )
