"""A batch of training examples as padded tensors, and the places in it where each loss reads."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from ..engine.tagging.batching import pad
from ..engine.tagging.guide import TokenSpan
from ..engine.tagging.model import Tokens
from ..engine.tagging.prompt import LOWER, PromptEncoder
from .dataset import Example

_HeadKey = tuple[tuple[int, ...], tuple[int, ...]]
"""Token ids of a head, and the contrast labels of its label names."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """Decisions of a batch: where the model takes each, among what, and what is right."""

    row: Tensor
    """*Shape:* (n,). The batch row of the decision."""
    slot: Tensor
    """*Shape:* (n,). The slot whose state predicts the decision."""
    candidates: Tensor
    """*Shape:* (n, choices). The legal token ids; -1 is padding."""
    right: Tensor
    """*Shape:* (n,). The index of the right token among the candidates."""


@dataclass(frozen=True, slots=True)
class Stretches:
    """Stretches of text for the contrastive loss: the mentions, and wrong spans near them."""

    row: Tensor
    """*Shape:* (n,). The batch row of the stretch."""
    first: Tensor
    """*Shape:* (n,). The index of its first text token."""
    last: Tensor
    """*Shape:* (n,). The index of its last text token; the stretch includes it."""
    label: Tensor
    """*Shape:* (n,). The contrast label of a mention; -1 for a wrong span."""


@dataclass(frozen=True, slots=True)
class Anchors:
    """The label names of a batch's heads, as anchors of the contrastive loss."""

    head: Tensor
    """*Shape:* (m,). The index of the head that the name stands in."""
    place: Tensor
    """*Shape:* (m,). The place of the label in that head."""
    label: Tensor
    """*Shape:* (m,). The contrast label."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Every token of the answers, for plain cross-entropy."""

    row: Tensor
    """*Shape:* (n,). The batch row of the token."""
    slot: Tensor
    """*Shape:* (n,). The slot whose state predicts the token."""
    token: Tensor
    """*Shape:* (n,). The token id."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples as padded tensors. Each row is a text with its answer, behind a prompt head that rows may share.

    A slot is a place in a row, counted from its first text token.
    """

    heads: Tokens
    """*Shape:* (heads, head). The different heads."""
    head_of: Tensor
    """*Shape:* (batch,). The index of each row's head."""
    label_ends: Tensor
    """*Shape:* (heads, labels). Where the last token of each label stands in its head; 0 is padding."""
    known: Tensor
    """*Shape:* (heads, labels), boolean. False is padding."""
    tokens: Tokens
    """*Shape:* (batch, row). Text, output mark and answer."""
    lengths: Tensor
    """*Shape:* (batch,). The number of text tokens."""
    text: Tensor
    """*Shape:* (batch, text + 1). The slots of the text tokens and, behind them, of the output mark's last token."""
    targets: Tensor
    """*Shape:* (batch, text). The drafter's class: 0 outside, 1 + k begin, 1 + labels + k inside; -100 is padding."""
    decisions: tuple[Decisions, ...]
    """The decisions between two tokens, then those among more, so that little is padded. A kind that is absent is
    left out."""
    stretches: Stretches
    anchors: Anchors
    answers: Answers

    @property
    def size(self) -> int:
        """Tokens that the model reads, without padding."""
        return sum(int((part.order >= 0).sum()) for part in (self.heads, self.tokens))

    def to(self, device: torch.device) -> "Batch":
        """The same batch with its tensors on `device`."""
        moved: Batch = _moved(self, device)
        return moved


@dataclass(frozen=True, slots=True)
class _Row:
    """One example in its place in a batch, as plain lists. `answer` is the slot of the answer's first token."""

    number: int
    example: Example
    head: int
    answer: int
    ids: list[int]
    positions: list[int]
    cases: list[int]
    stretches: list[tuple[int, int, int, int]]
    """Row, first and last text token, contrast label or -1."""

    @property
    def order(self) -> list[int]:
        start = len(self.example.head.ids)
        return list(range(start, start + len(self.ids)))

    @property
    def text(self) -> list[int]:
        return [*range(len(self.example.source)), self.answer - 1]

    @property
    def answers(self) -> list[tuple[int, int, int]]:
        return [(self.number, self.answer + at - 1, token) for at, token in enumerate(self.example.tagged.ids)]


def collate(encoder: PromptEncoder, examples: Sequence[Example], rng: random.Random) -> Batch:
    """Pad and index a batch of examples. `rng` picks the wrong spans."""
    number_of: dict[_HeadKey, int] = {}
    heads: list[Example] = []
    rows: list[_Row] = []
    for example in examples:
        key = example.head.ids, example.contrast_labels
        if key not in number_of:
            number_of[key] = len(heads)
            heads.append(example)
        rows.append(_row(encoder, len(rows), example, number_of[key], rng))
    label_ends = [one.head.label_ends for one in heads]
    anchors = [(head, *anchor) for head, one in enumerate(heads) for anchor in enumerate(one.contrast_labels)]
    labels = max(map(len, label_ends))
    return Batch(
        heads=_head_tokens([one.head.ids for one in heads]),
        head_of=torch.tensor([row.head for row in rows]),
        label_ends=pad(label_ends, 0),
        known=pad([[1] * len(ends) for ends in label_ends], 0).bool(),
        tokens=Tokens(
            ids=pad([row.ids for row in rows], 0),
            positions=pad([row.positions for row in rows], 0),
            cases=pad([row.cases for row in rows], 0),
            order=pad([row.order for row in rows], -1),
        ),
        lengths=torch.tensor([len(example.source) for example in examples]),
        text=pad([row.text for row in rows], 0),
        targets=pad([_draft_targets(len(one.source), one.tagged.spans, labels) for one in examples], -100),
        decisions=_decisions(rows),
        stretches=Stretches(*_columns(4, [stretch for row in rows for stretch in row.stretches])),
        anchors=Anchors(*_columns(3, anchors)),
        answers=Answers(*_columns(3, [answer for row in rows for answer in row.answers])),
    )


def _row(encoder: PromptEncoder, number: int, example: Example, head: int, rng: random.Random) -> _Row:
    source, tagged, mark = example.source, example.tagged, encoder.tags.output_mark
    start = len(example.head.ids)
    right = [(number, first, end - 1, example.contrast_labels[k]) for first, end, k in tagged.spans]
    wrong = [(number, first, last, -1) for first, last in _wrong_spans(tagged.spans, len(source), rng)]
    return _Row(
        number=number,
        example=example,
        head=head,
        answer=len(source) + len(mark),
        ids=[*source.ids, *mark, *tagged.ids],
        positions=[*range(start, start + len(source)), *encoder.positions(start, len(source), tagged.copied)],
        cases=[*source.cases, *[LOWER] * len(mark), *source.copied_cases(tagged.copied)],
        stretches=[*right, *wrong],
    )


def _head_tokens(heads: Sequence[Sequence[int]]) -> Tokens:
    ids, order = pad(heads, 0), pad([range(len(head)) for head in heads], -1)
    return Tokens(ids=ids, positions=order.clamp(min=0), cases=torch.full_like(ids, LOWER), order=order)


def _draft_targets(length: int, spans: Sequence[TokenSpan], labels: int) -> list[int]:
    """The drafter's class for every text token, in a batch whose heads are padded to `labels` labels."""
    targets = [0] * length
    for start, end, label in spans:
        targets[start] = 1 + label
        targets[start + 1 : end] = [1 + labels + label] * (end - start - 1)
    return targets


def _wrong_spans(spans: Sequence[TokenSpan], length: int, rng: random.Random) -> list[tuple[int, int]]:
    """Hard negatives, inclusive: each mention shifted, truncated or extended by a token, and a token beside it."""
    right = {(start, end - 1) for start, end, _ in spans}
    wrong = set()
    for first, last in right:
        near = [(first - 1, last), (first, last + 1), (first + 1, last + 1), (first - 1, last - 1)]
        near += [(first + 1, last), (first, last - 1), (last + 1, last + 1), (first - 1, first - 1)]
        wrong.update(rng.sample(near, 3))
    return sorted(pair for pair in wrong - right if 0 <= pair[0] <= pair[1] < length)


def _decisions(rows: Sequence[_Row]) -> tuple[Decisions, ...]:
    flat = [(row, decision) for row in rows for decision in row.example.tagged.decisions]
    pairs = [(row, decision) for row, decision in flat if len(decision.allowed) == 2]
    wider = [(row, decision) for row, decision in flat if len(decision.allowed) > 2]
    return tuple(
        Decisions(
            row=torch.tensor([row.number for row, _ in group]),
            slot=torch.tensor([row.answer + decision.at - 1 for row, decision in group]),
            candidates=pad([decision.allowed for _, decision in group], -1),
            right=torch.tensor([decision.right for _, decision in group]),
        )
        for group in (pairs, wider)
        if group
    )


def _columns(count: int, records: Sequence[tuple[int, ...]]) -> tuple[Tensor, ...]:
    """The `count` fields of all records, a tensor each; also of no records."""
    return torch.tensor(records, dtype=torch.long).view(-1, count).unbind(1)


def _moved(value: Any, device: torch.device) -> Any:
    """A tensor, tuple or dataclass with every tensor in it on `device`."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple):
        return tuple(_moved(part, device) for part in value)
    return replace(value, **{one.name: _moved(getattr(value, one.name), device) for one in fields(value)})
