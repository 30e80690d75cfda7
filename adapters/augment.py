"""Makes new texts from annotated ones. Works on text and offsets only."""

import random
from collections.abc import Mapping, Sequence

from ..engine.span import Seed, Span


def mentions_of(seeds: Sequence[Seed]) -> dict[str, tuple[str, ...]]:
    """The distinct mention texts of every label, sorted."""
    found: dict[str, set[str]] = {}
    for seed in seeds:
        for span in seed.spans:
            found.setdefault(span.label, set()).add(seed.text[span.start : span.end])
    return {label: tuple(sorted(texts)) for label, texts in found.items()}


def swap_mentions(
    text: str, spans: Sequence[Span], mentions: Mapping[str, Sequence[str]], rng: random.Random, rate: float = 0.5
) -> tuple[str, tuple[Span, ...]]:
    """Replace each mention, with probability `rate`, by another of its label. Returns the new text and its spans.

    Source: mention replacement of Dai & Adel 2020, "An Analysis of Simple Data Augmentation for NER".
    """
    made, moved, done = "", [], 0
    for span in spans:
        made += text[done : span.start]
        mention = text[span.start : span.end]
        if rng.random() < rate:
            mention = rng.choice(mentions[span.label])
        moved.append(Span(len(made), len(made) + len(mention), span.label))
        made += mention
        done = span.end
    return made + text[done:], tuple(moved)
