"""Training examples: one text under one choice of labels, encoded.

This module shuffles and drops labels at random, so that a label list never says which labels occur. The prompt encoder
encodes, as it does for decoding.
"""

import random
from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import TypeVar

from ..engine.label import LabelSet
from ..engine.span import Span
from ..engine.tagging.prompt import Head, PromptEncoder, SourceTokens, Tagged

Item = TypeVar("Item", bound=Sized)


@dataclass(frozen=True, slots=True)
class Example:
    """One encoded text with its labels. `contrast_labels[k]` is the id of label k, the same in all examples."""

    head: Head
    source: SourceTokens
    tagged: Tagged
    contrast_labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.head.ids) + len(self.source) + len(self.tagged.ids) + 1


def choose_labels(
    labels: LabelSet, spans: Sequence[Span], rng: random.Random, *, drop: float = 0.1, most: int | None = None
) -> tuple[LabelSet, tuple[Span, ...]]:
    """A shuffled choice of labels, at most `most`, and the spans that carry them.

    Labels that occur are dropped, with their mentions, at rate `drop`. A random number of absent labels is added.
    """
    present = {span.label for span in spans}
    kept = {name for name in sorted(present) if rng.random() >= drop}
    absent = [label for label in labels if label.name not in present]
    rng.shuffle(absent)
    room = len(absent) if most is None else max(0, most - len(kept))
    chosen = [label for label in labels if label.name in kept] + absent[: rng.randint(0, min(room, len(absent)))]
    chosen = chosen or [rng.choice(labels.labels)]
    rng.shuffle(chosen)
    names = {label.name for label in chosen}
    return LabelSet(tuple(chosen)), tuple(span for span in spans if span.label in names)


def encode(
    encoder: PromptEncoder, source: SourceTokens, spans: Sequence[Span], labels: LabelSet, ids: dict[str, int]
) -> Example:
    """Encode an example, without mentions of labels outside `labels`. `ids` maps label names to contrast labels."""
    head = encoder.encode_head(labels)
    asked = [span for span in spans if span.label in labels.names]
    tagged = encoder.encode_tagged(source, asked, labels, head.trie)
    return Example(head, source, tagged, tuple(ids[label.name] for label in labels))


def batches(
    examples: Sequence[Item], budget: int, rng: random.Random, length: Callable[[Item], int] = len
) -> Iterator[list[Item]]:
    """Yield batches of examples of similar length, at most `budget` padded tokens each, in random order."""
    ordered = sorted(examples, key=lambda example: length(example) + 8 * rng.random())
    groups: list[list[Item]] = [[]]
    for example in ordered:
        if groups[-1] and length(example) * (len(groups[-1]) + 1) > budget:
            groups.append([])
        groups[-1].append(example)
    rng.shuffle(groups)
    yield from groups
