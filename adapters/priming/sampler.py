"""Draws training examples without end from annotated sets. What is drawn depends on the random numbers alone."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...engine.label import Label, LabelSet
from ...engine.span import Seed, Span
from ...engine.tagging.prompt import PromptEncoder, SourceTokens
from ..augment import swap_mentions
from ..dataset import Example, choose_labels, encode
from .glossary import Glossary
from .sets import AnnotatedSet

MOST_LABELS = 18
"""The most labels that an example's prompt holds."""

LONGEST = 150
"""Source tokens that an example may have, where the base's config does not say `nerx_text_limit`."""

CAP, FLATTENING = 6000, 0.6
"""A set of n rows has the weight min(n, CAP) ** FLATTENING, so that small sets are heard too."""


class RowSampler:
    """Draws texts without end: sets by capped size, rows joined, mentions swapped, some in lower case.

    `factors`: a set's name -> how many times as often as by its size the set is drawn.
    """

    def __init__(self, sets: Sequence[AnnotatedSet], factors: Mapping[str, float] | None = None) -> None:
        self._sets = sets
        told = factors or {}
        self._weights = [min(len(one.rows), CAP) ** FLATTENING * told.get(one.name, 1.0) for one in sets]

    def draw(self, rng: random.Random) -> tuple[AnnotatedSet, Seed]:
        """A text, and the set that it is from."""
        one = self.draw_set(rng)
        return one, self.draw_row(one, rng)

    def draw_set(self, rng: random.Random) -> AnnotatedSet:
        """One of the sets."""
        return rng.choices(self._sets, self._weights)[0]

    def draw_row(self, one: AnnotatedSet, rng: random.Random) -> Seed:
        """A text of one set."""
        row = self._joined(one, rng)
        if rng.random() < 0.15:
            row = Seed(*swap_mentions(row.text, row.spans, one.mentions, rng))
        if rng.random() < 0.12 and len(row.text.lower()) == len(row.text):
            row = Seed(row.text.lower(), row.spans)
        return row

    def _joined(self, one: AnnotatedSet, rng: random.Random) -> Seed:
        """One row, or now and then several as one text, so that longer texts than sentences are known."""
        row = rng.choice(one.rows)
        while rng.random() < 0.3 and len(row.text) < 450:
            row = _join(row, rng.choice(one.rows), rng.choice((" ", " ", "\n")))
        return row


@dataclass(frozen=True, slots=True)
class Limits:
    """How examples are cut.

    longest: source tokens an example may have. share: the most texts under the same labels. anywhere: whether the part
    of a longer text is taken from anywhere in it, or from its start.
    """

    longest: int = LONGEST
    share: int = 1
    anywhere: bool = False


class Sampler:
    """Draws training examples without end: texts of `RowSampler` under a choice of labels, some of them renamed."""

    def __init__(
        self,
        sets: Sequence[AnnotatedSet],
        glossary: Glossary,
        encoder: PromptEncoder,
        limits: Limits | None = None,
        factors: Mapping[str, float] | None = None,
    ) -> None:
        self._rows = RowSampler(sets, factors)
        self._glossary = glossary
        self._encoder = encoder
        self._limits = limits or Limits()
        names = [(one.name, name) for one in sets for name in one.labels.names]
        self._ids = {pair: index for index, pair in enumerate(names)}

    def draw(self, rng: random.Random) -> Example:
        """One example."""
        return self._examples(1, rng)[0]

    def draw_group(self, rng: random.Random) -> list[Example]:
        """One to `share` examples of the same set under the same labels, whose head the model reads once."""
        return self._examples(rng.randint(1, self._limits.share), rng)

    def draw_batch(self, tokens: int, rng: random.Random) -> list[Example]:
        """Groups of examples until they come to `tokens` tokens, a head that a group shares counted once."""
        drawn: list[Example] = []
        size = 0
        while size < tokens:
            if group := [one for one in self.draw_group(rng) if len(one.source)]:
                drawn += group
                size += len(group[0].head.ids) + sum(len(one) - len(one.head.ids) for one in group)
        return drawn

    def _examples(self, count: int, rng: random.Random) -> list[Example]:
        one = self._rows.draw_set(rng)
        rows = [self._rows.draw_row(one, rng) for _ in range(count)]
        labels, _ = choose_labels(one.labels, [span for row in rows for span in row.spans], rng, most=MOST_LABELS)
        renamed = self._renamed(labels, rng)
        names = dict(zip(labels.names, renamed.names, strict=True))
        ids = {names[name]: self._ids[one.name, name] for name in labels.names}
        examples = []
        for row in rows:
            source, spans = self._cut(self._encoder.encode_source(row.text), row.spans, rng)
            asked = [Span(span.start, span.end, names[span.label]) for span in spans if span.label in names]
            examples.append(encode(self._encoder, source, asked, renamed, ids))
        return examples

    def _cut(
        self, source: SourceTokens, spans: Sequence[Span], rng: random.Random
    ) -> tuple[SourceTokens, Sequence[Span]]:
        """A part of a text that is too long, and the mentions that lie in it whole."""
        longest = self._limits.longest
        if len(source) <= longest:
            return source, spans
        start = 0
        if self._limits.anywhere:
            start = rng.randint(0, len(source) - longest)
            while start and not _may_begin(source, start, spans):
                start -= 1
        part = source.part(start, start + longest)
        low, high = part.offsets[0][0] if start else 0, part.offsets[-1][1]
        return part, [span for span in spans if low <= span.start and span.end <= high]

    def _renamed(self, labels: LabelSet, rng: random.Random) -> LabelSet:
        """Some names replaced by synonyms, and for a quarter of the texts a definition behind each name."""
        described = rng.random() < 0.25
        taken = set(labels.names)
        renamed = []
        for label in labels:
            entry = self._glossary.of(label.name)
            free = [name for name in entry.synonyms if name not in taken]
            name = rng.choice(free) if free and rng.random() < 0.25 else label.name
            taken.add(name)
            text = rng.choice(entry.descriptions) if described and entry.descriptions else ""
            renamed.append(Label(name, text))
        return LabelSet(tuple(renamed))


def _may_begin(source: SourceTokens, at: int, spans: Sequence[Span]) -> bool:
    """Whether a part may begin with token `at`: not inside a word, and not inside a mention."""
    place = source.offsets[at][0]
    return source.borders[at] and not any(span.start < place < span.end for span in spans)


def _join(first: Seed, second: Seed, between: str) -> Seed:
    shift = len(first.text) + len(between)
    moved = tuple(Span(span.start + shift, span.end + shift, span.label) for span in second.spans)
    return Seed(first.text + between + second.text, first.spans + moved)
