"""A batch of training examples: its indices point at what they claim to."""

import random

import pytest
import torch
from families import make_base

from nerx.adapters.batch import collate
from nerx.adapters.dataset import encode
from nerx.engine.label import Label, LabelSet
from nerx.engine.span import Span
from nerx.engine.tagging.batching import pad
from nerx.engine.tagging.loading import load_base

LABELS = LabelSet((Label("person"), Label("place", "somewhere"), Label("firm")))
FEW = LabelSet((Label("place"),))
TEXTS = (
    ("Ada Lovelace wrote from London.", (Span(0, 12, "person"), Span(24, 30, "place"))),
    ("Nothing.", ()),
    ("Maersk paid in Rotterdam before noon.", (Span(0, 6, "firm"), Span(15, 24, "place"))),
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return load_base(make_base("llama", tmp_path_factory.mktemp("base")), device="cpu").encoder


@pytest.fixture(scope="module")
def examples(encoder):
    ids = {name: 10 + k for k, name in enumerate(LABELS.names)}
    asked = (LABELS, FEW, LABELS)
    return [
        encode(encoder, encoder.encode_source(text), spans, labels, ids)
        for (text, spans), labels in zip(TEXTS, asked, strict=True)
    ]


@pytest.fixture(scope="module")
def batch(encoder, examples):
    return collate(encoder, examples, random.Random(0))


def test_rows_with_the_same_labels_share_a_head(batch, examples):
    assert batch.head_of.tolist() == [0, 1, 0]
    assert batch.known.tolist() == [[True] * 3, [True, False, False]]
    assert batch.label_ends.tolist() == [list(examples[0].head.label_ends), [*examples[1].head.label_ends, 0, 0]]


def test_a_decision_is_predicted_by_the_slot_before_its_token(batch):
    for group in batch.decisions:
        for row, slot, candidates, right in zip(group.row, group.slot, group.candidates, group.right, strict=True):
            assert batch.tokens.ids[row, slot + 1] == candidates[right]


def test_every_decision_is_in_the_batch_once(batch, examples):
    assert [group.candidates.shape[1] == 2 for group in batch.decisions] in ([True], [True, False])
    assert sum(len(group.row) for group in batch.decisions) == sum(len(one.tagged.decisions) for one in examples)


def test_answers_are_what_stands_behind_their_slots(batch, examples):
    answers = batch.answers
    assert torch.equal(batch.tokens.ids[answers.row, answers.slot + 1], answers.token)
    assert answers.token.tolist() == [token for one in examples for token in one.tagged.ids]


def test_text_slots_end_with_the_last_token_of_the_output_mark(batch, encoder, examples):
    for row, one in enumerate(examples):
        slots = batch.text[row, : len(one.source) + 1]
        assert batch.tokens.ids[row, slots].tolist() == [*one.source.ids, encoder.tags.output_mark[-1]]


def test_targets_mark_each_mention_and_nothing_else(batch, examples):
    labels = batch.known.shape[1]
    for row, one in enumerate(examples):
        expected = [0] * len(one.source)
        for start, end, label in one.tagged.spans:
            expected[start:end] = [1 + label, *[1 + labels + label] * (end - start - 1)]
        padding = [-100] * (batch.targets.shape[1] - len(expected))
        assert batch.targets[row].tolist() == expected + padding


def test_stretches_hold_every_mention_and_wrong_spans_that_are_none(batch, examples):
    stretches = batch.stretches
    listed = list(zip(*(part.tolist() for part in (stretches.row, stretches.first, stretches.last)), strict=True))
    mentions = [place for place, label in zip(listed, stretches.label, strict=True) if label >= 0]
    wrong = [place for place, label in zip(listed, stretches.label, strict=True) if label < 0]
    assert mentions == [(row, a, b - 1) for row, one in enumerate(examples) for a, b, _ in one.tagged.spans]
    assert wrong
    assert not set(wrong) & set(mentions)
    assert all(0 <= first <= last < len(examples[row].source) for row, first, last in wrong)


def test_anchors_name_each_label_of_each_head(batch):
    anchors = batch.anchors
    found = list(zip(anchors.head.tolist(), anchors.place.tolist(), anchors.label.tolist(), strict=True))
    assert found == [(0, 0, 10), (0, 1, 11), (0, 2, 12), (1, 0, 11)]


def test_a_batch_without_mentions_has_empty_stretches(encoder, examples):
    bare = collate(encoder, [examples[1]], random.Random(0))
    assert [len(part) for part in (bare.stretches.row, bare.stretches.label)] == [0, 0]
    assert bare.to(torch.device("cpu")).size == bare.size


def test_padding_keeps_numbers_and_takes_the_kind_of_its_fill():
    assert pad([(1, 2), (3,)], -1).tolist() == [[1, 2], [3, -1]]
    assert pad([(1, 2)], 0.0).dtype == torch.float32
    assert pad([(), ()], 0).dtype == torch.long
