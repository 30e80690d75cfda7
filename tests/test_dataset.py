"""Which labels a training example asks for."""

import random

from hypothesis import given
from hypothesis import strategies as st

from nerx.adapters.dataset import choose_labels
from nerx.engine.label import LabelSet
from nerx.engine.span import Span

NAMES = tuple("abcdefgh")
LABELS = LabelSet.of(*NAMES)

present = st.lists(st.sampled_from(NAMES), max_size=6)
seeds = st.integers(0, 1 << 30)


def spans_of(names):
    return tuple(Span(2 * k, 2 * k + 1, name) for k, name in enumerate(names))


@given(present, seeds, st.floats(0, 1), st.none() | st.integers(1, 10))
def test_a_label_goes_with_all_of_its_mentions(names, seed, drop, most):
    spans = spans_of(names)
    labels, kept = choose_labels(LABELS, spans, random.Random(seed), drop=drop, most=most)
    assert len(labels) > 0
    assert set(labels.names) <= set(NAMES)
    assert kept == tuple(span for span in spans if span.label in labels.names)
    if most is not None:
        assert len(labels) <= max(most, len(set(names)))


def test_labels_come_in_another_order_and_number_each_time():
    drawn = {choose_labels(LABELS, (), random.Random(seed))[0].names for seed in range(50)}
    assert len({len(names) for names in drawn}) > 5
    assert len({names[0] for names in drawn}) > 5
