"""Training examples as tensors: prompt, tagged output, and the places where each loss reads.

One example is one text under one choice of labels. Labels are shuffled and dropped here, at random, so that a label
list never says what occurs; encoding is the prompt encoder's, the same that decoding uses.
"""

import random
from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from ..engine.label import Label, LabelSet
from ..engine.span import Span
from ..engine.tagging.guide import TokenSpan
from ..engine.tagging.model import Tokens
from ..engine.tagging.prompt import Decision, Head, PromptEncoder, SourceTokens, Tagged

Item = TypeVar("Item", bound=Sized)


@dataclass(frozen=True, slots=True)
class Example:
    """One text with its labels, encoded. `contrast_labels[k]` names label k across examples."""

    head: Head
    source: SourceTokens
    tagged: Tagged
    contrast_labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.head.ids) + len(self.source) + len(self.tagged.ids) + 1


@dataclass(frozen=True, slots=True)
class Decisions:
    """Decisions: `row`, `slot` of the predicting state, `candidates` (n, choices) padded with -1, `right` (n,)."""

    row: Tensor
    slot: Tensor
    candidates: Tensor
    right: Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """A padded batch: text and answer of each row, behind a prompt head that rows may share. Slots count from the text.

    heads: the different heads; head_of (batch,): each row's. labels (heads, labels), known alike: slots of the label
    ends. text (batch, text + 1): slots of the text tokens and of the output mark; lengths (batch,): text tokens.
    targets (batch, text): 0 outside, 1 + k begin, 1 + labels + k inside, -100 padding. `spans` (n, 4): row, first
    token, last token, contrast label, -1 for wrong spans. anchors (m, 3): head, place in `labels`, contrast label.
    answers (n, 3): row, slot, token for plain loss.
    """

    heads: Tokens
    head_of: Tensor
    tokens: Tokens
    decisions: tuple[Decisions, ...]
    text: Tensor
    lengths: Tensor
    labels: Tensor
    known: Tensor
    targets: Tensor
    spans: Tensor
    anchors: Tensor
    answers: Tensor

    @property
    def size(self) -> int:
        """Tokens that the model reads, without padding."""
        return sum(int((part.order >= 0).sum()) for part in (self.heads, self.tokens))


def choose_labels(
    labels: LabelSet, spans: Sequence[Span], rng: random.Random, *, drop: float = 0.1, most: int | None = None
) -> tuple[LabelSet, tuple[Span, ...]]:
    """A shuffled choice: occurring labels are dropped, with their mentions, at rate `drop`; absent ones fill up."""
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
    """An example without the mentions of other labels; `ids` gives each label name its id for the contrastive loss."""
    head = encoder.encode_head(labels)
    asked = [span for span in spans if span.label in labels.names]
    tagged = encoder.encode_tagged(source, asked, labels, head.trie)
    return Example(head, source, tagged, tuple(ids[label.name] for label in labels))


def without_descriptions(labels: LabelSet, rng: random.Random, rate: float) -> LabelSet:
    """Every description dropped at `rate`, so that names alone are understood too."""
    return LabelSet(tuple(Label(x.name) if rng.random() < rate else x for x in labels))


def batches(
    examples: Sequence[Item], budget: int, rng: random.Random, length: Callable[[Item], int] = len
) -> Iterator[list[Item]]:
    """Examples of like length together, at most `budget` padded tokens a batch, in random order."""
    ordered = sorted(examples, key=lambda example: length(example) + 8 * rng.random())
    groups: list[list[Item]] = [[]]
    for example in ordered:
        if groups[-1] and length(example) * (len(groups[-1]) + 1) > budget:
            groups.append([])
        groups[-1].append(example)
    rng.shuffle(groups)
    yield from groups


def collate(encoder: PromptEncoder, examples: Sequence[Example], rng: random.Random) -> Batch:
    """Pad and index a batch of examples. `rng` picks the wrong spans."""
    tags = encoder.tags
    mark = len(tags.output_mark)
    heads: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
    head_of, head_ends = [], []
    rows, cases, positions, begin = [], [], [], []
    pairs: list[tuple[int, int, Decision]] = []
    choices: list[tuple[int, int, Decision]] = []
    text, targets, spans, anchors, answers = [], [], [], [], []
    for row, example in enumerate(examples):
        head, source, tagged = example.head.ids, example.source, example.tagged
        key = head, example.contrast_labels
        if key not in heads:
            heads[key] = len(heads)
            head_ends.append(list(example.head.label_ends))
            anchors += [(heads[key], place, label) for place, label in enumerate(example.contrast_labels)]
        head_of.append(heads[key])
        start, answer = len(head), len(source) + mark
        begin.append(start)
        rows.append([*source.ids, *tags.output_mark, *tagged.ids])
        cases.append([*source.cases, *[0] * mark, *_copied_cases(source, tagged)])
        places = encoder.positions(start, len(source), tagged.copied)
        positions.append([*range(start, start + len(source)), *places])
        for decision in tagged.decisions:
            (pairs if len(decision.allowed) == 2 else choices).append((row, answer + decision.at - 1, decision))
        text.append([*range(len(source)), answer - 1])
        targets.append(_draft_targets(len(source), tagged.spans))
        spans += [(row, first, last, example.contrast_labels[k]) for first, last, k in _inclusive(tagged.spans)]
        spans += [(row, first, last, -1) for first, last in _wrong_spans(tagged.spans, len(source), rng)]
        answers += [(row, answer + at - 1, token) for at, token in enumerate(tagged.ids)]
    order = [list(range(first, first + len(ids))) for first, ids in zip(begin, rows, strict=True)]
    return Batch(
        _head_tokens([ids for ids, _ in heads]),
        torch.tensor(head_of),
        Tokens(_pad(rows, 0), _pad(positions, 0), _pad(cases, 0), _pad(order, -1)),
        tuple(_decisions(group) for group in (pairs, choices) if group),
        _pad(text, 0),
        torch.tensor([len(example.source) for example in examples]),
        _pad(head_ends, 0),
        _pad([[1] * len(ends) for ends in head_ends], 0).bool(),
        _pad(_fold(targets, max(map(len, head_ends))), -100),
        torch.tensor(spans, dtype=torch.long).view(-1, 4),
        torch.tensor(anchors, dtype=torch.long).view(-1, 3),
        torch.tensor(answers, dtype=torch.long).view(-1, 3),
    )


def _head_tokens(heads: Sequence[Sequence[int]]) -> Tokens:
    ids, order = _pad(heads, 0), _pad([list(range(len(head))) for head in heads], -1)
    return Tokens(ids, order.clamp(min=0), torch.zeros_like(ids), order)


def _copied_cases(source: SourceTokens, tagged: Tagged) -> list[int]:
    """Case of each output token: a copy has its source token's, a marker or label none."""
    before = (0, *tagged.copied[:-1]) if tagged.copied else ()
    return [source.cases[now - 1] if now > was else 0 for was, now in zip(before, tagged.copied, strict=True)]


def _draft_targets(length: int, spans: Sequence[TokenSpan]) -> list[tuple[int, int]]:
    """(kind, label) a text token: kind 0 outside, 1 begin, 2 inside."""
    targets = [(0, 0)] * length
    for start, end, label in spans:
        targets[start] = (1, label)
        targets[start + 1 : end] = [(2, label)] * (end - start - 1)
    return targets


def _fold(targets: Sequence[Sequence[tuple[int, int]]], labels: int) -> list[list[int]]:
    """Class indices once the batch's padded number of labels is known."""
    return [[0 if kind == 0 else 1 + (kind - 1) * labels + label for kind, label in row] for row in targets]


def _inclusive(spans: Sequence[TokenSpan]) -> list[tuple[int, int, int]]:
    return [(start, end - 1, label) for start, end, label in spans]


def _wrong_spans(spans: Sequence[TokenSpan], length: int, rng: random.Random) -> list[tuple[int, int]]:
    """Hard negatives, inclusive: each mention shifted, truncated or extended by a token, and a token beside it."""
    right = {(start, end - 1) for start, end, _ in spans}
    wrong = set()
    for first, last in right:
        near = [(first - 1, last), (first, last + 1), (first + 1, last + 1), (first - 1, last - 1)]
        near += [(first + 1, last), (first, last - 1), (last + 1, last + 1), (first - 1, first - 1)]
        wrong.update(rng.sample(near, 3))
    return sorted(pair for pair in wrong - right if 0 <= pair[0] <= pair[1] < length)


def _decisions(group: Sequence[tuple[int, int, Decision]]) -> Decisions:
    return Decisions(
        torch.tensor([row for row, _, _ in group]),
        torch.tensor([slot for _, slot, _ in group]),
        _pad([list(decision.allowed) for _, _, decision in group], -1),
        torch.tensor([decision.right for _, _, decision in group]),
    )


def _pad(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows], dtype=torch.long)
