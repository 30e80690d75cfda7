"""BIO tags over words, and back: tag 0 is O, label `i` has B = 2i + 1 and I = 2i + 2. No torch."""

from collections.abc import Sequence

from nerx.engine.span import Span

Word = tuple[int, int]
"""Half-open code points of a word in its text."""

OUTSIDE = 0


def tag_names(labels: Sequence[str]) -> list[str]:
    return ["O", *(f"{prefix}-{label}" for label in labels for prefix in "BI")]


def encode(words: Sequence[Word], spans: Sequence[Span], labels: Sequence[str]) -> list[int]:
    """A tag for each word. A word belongs to the span that it overlaps first; `spans` are sorted and disjoint."""
    tags = [OUTSIDE] * len(words)
    for span in spans:
        inside = [
            index
            for index, (start, end) in enumerate(words)
            if start < span.end and end > span.start and tags[index] == OUTSIDE
        ]
        begin = 2 * labels.index(span.label) + 1
        for order, index in enumerate(inside):
            tags[index] = begin + (order > 0)
    return tags


def decode(words: Sequence[Word], tags: Sequence[int], labels: Sequence[str]) -> tuple[Span, ...]:
    """Spans of a tag sequence. An I that continues nothing of its label opens a span, as conlleval reads it."""
    spans: list[Span] = []
    previous = OUTSIDE
    for (start, end), tag in zip(words, tags, strict=True):
        if tag != OUTSIDE:
            label = labels[(tag - 1) // 2]
            continues = tag % 2 == 0 and previous in (tag, tag - 1)
            if continues:
                spans[-1] = Span(spans[-1].start, end, label)
            else:
                spans.append(Span(start, end, label))
        previous = tag
    return tuple(spans)
