"""Strict scores against small cases counted by hand, and laws that hold for any spans."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerx.engine.review.metrics import Counts, evaluate, overlap_counts
from nerx.engine.span import Span

LABELS = ["person", "place"]


@st.composite
def span_lists(draw):
    """Sorted spans that never overlap, over 40 characters."""
    borders = sorted(draw(st.sets(st.integers(0, 40), max_size=12)))
    pairs = zip(borders[::2], borders[1::2], strict=False)
    score = st.floats(0, 1)
    return [Span(start, end, draw(st.sampled_from(LABELS)), draw(score)) for start, end in pairs]


def test_one_of_each_kind_of_error_counted_by_hand():
    text = "Ana Lima met Bo in Rome and Kyiv"
    gold = [Span(0, 8, "person"), Span(13, 15, "person"), Span(19, 23, "place")]
    predicted = [
        Span(0, 8, "person", 0.9),
        Span(13, 15, "place", 0.4),
        Span(19, 22, "place", 0.8),
        Span(28, 32, "place", 0.95),
    ]
    result = evaluate([gold], [predicted], [text], labels=LABELS, seen={"Ana Lima", "Kyiv"})
    assert result.micro == Counts(tp=1, fp=3, fn=2)
    assert result.per_label == {"person": Counts(1, 0, 1), "place": Counts(0, 3, 1)}
    assert result.macro_f1 == pytest.approx((2 / 3 + 0) / 2)
    assert result.partial == Counts(tp=2, fp=2, fn=1)
    assert result.confusion == {("person", "place"): 1}
    assert result.seen == Counts(tp=1, fp=1, fn=0)
    assert result.unseen == Counts(tp=0, fp=2, fn=2)
    assert [(b.low, b.count, b.precision) for b in result.calibration] == [(0.4, 1, 0.0), (0.8, 1, 0.0), (0.9, 2, 0.5)]
    assert result.calibration_error == pytest.approx((0.4 + 0.8 + 2 * (0.925 - 0.5)) / 4)
    assert result.texts == 1


def test_nothing_expected_and_nothing_found_scores_zero_without_dividing_by_it():
    result = evaluate([[]], [[]], ["text"], labels=LABELS)
    assert (result.micro.f1, result.macro_f1, result.calibration_error) == (0, 0, 0)
    assert list(result.per_label) == LABELS
    assert result.calibration == ()


def test_macro_f1_leaves_out_labels_that_occur_nowhere():
    gold = [[Span(0, 1, "person")]]
    assert evaluate(gold, gold, ["a"], labels=["event", "person", "place"]).macro_f1 == 1


def test_a_label_that_was_not_asked_for_counts_and_comes_last():
    result = evaluate([[Span(0, 1, "award")]], [[]], ["a"], labels=["place"])
    assert result.per_label == {"place": Counts(), "award": Counts(fn=1)}
    assert result.micro == Counts(fn=1)


def test_partial_matches_are_one_to_one():
    assert overlap_counts([Span(0, 10, "x")], [Span(0, 4, "x"), Span(5, 9, "x")]) == Counts(tp=1, fp=1)
    assert overlap_counts([Span(0, 4, "x"), Span(5, 9, "x")], [Span(3, 6, "x")]) == Counts(tp=1, fn=1)
    assert overlap_counts([Span(0, 4, "x")], [Span(4, 8, "x")]) == Counts(fp=1, fn=1)


@given(span_lists())
def test_a_perfect_prediction_scores_one_everywhere(spans):
    result = evaluate([spans], [spans], ["x" * 40], labels=LABELS)
    assert result.micro == result.partial == Counts(tp=len(spans))
    assert result.confusion == {}
    assert result.macro_f1 == (1 if spans else 0)


@given(st.lists(st.tuples(span_lists(), span_lists()), max_size=4))
def test_counts_add_up_in_every_view(pairs):
    gold, predicted = [list(side) for side in zip(*pairs, strict=True)] or [[], []]
    result = evaluate(gold, predicted, ["ab" * 20 for _ in pairs], labels=LABELS, seen={"a", "ab", "ba"})
    wanted, found = sum(map(len, gold)), sum(map(len, predicted))
    for counts in (result.micro, result.partial, result.seen + result.unseen, sum(result.per_label.values(), Counts())):
        assert (counts.tp + counts.fn, counts.tp + counts.fp) == (wanted, found)
    assert result.partial.tp >= result.micro.tp
    assert sum(b.count for b in result.calibration) == found
    assert sum(result.confusion.values()) <= min(result.micro.fp, result.micro.fn)
    assert 0 <= result.calibration_error <= 1


@given(span_lists(), span_lists())
def test_precision_and_recall_swap_when_gold_and_prediction_do(gold, predicted):
    ahead = evaluate([gold], [predicted], ["x" * 40], labels=LABELS)
    back = evaluate([predicted], [gold], ["x" * 40], labels=LABELS)
    assert (ahead.micro.precision, ahead.micro.recall) == (back.micro.recall, back.micro.precision)
    assert ahead.partial.tp == back.partial.tp
    assert ahead.micro.f1 == pytest.approx(_harmonic_mean(ahead.micro.precision, ahead.micro.recall))


def _harmonic_mean(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0


@given(st.lists(st.booleans(), min_size=1))
def test_scores_that_equal_their_precision_have_no_calibration_error(right):
    share = sum(right) / len(right)
    texts = ["x" for _ in right]
    gold = [[Span(0, 1, "place")] if is_right else [] for is_right in right]
    result = evaluate(gold, [[Span(0, 1, "place", share)] for _ in right], texts, labels=["place"])
    assert math.isclose(result.calibration_error, 0, abs_tol=1e-9)


def test_the_dictionary_survives_json_and_ranks_confusions():
    gold = [[Span(0, 1, "person")], [Span(0, 1, "place")], [Span(0, 1, "place")]]
    predicted = [[Span(0, 1, "place")], [Span(0, 1, "person")], [Span(0, 1, "person")]]
    record = evaluate(gold, predicted, ["a", "b", "c"], labels=LABELS).to_dict()
    assert json.loads(json.dumps(record)) == record
    assert [entry["count"] for entry in record["confusion"]] == [2, 1]
    assert record["micro"] == {"precision": 0, "recall": 0, "f1": 0, "tp": 0, "fp": 3, "fn": 3}


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="2 texts, but 1 lists of gold"):
        evaluate([[]], [[], []], ["a", "b"], labels=LABELS)
