"""Texts as tokens: borders, letter case, and what annotations become."""

from itertools import pairwise

import pytest
from families import make_base
from hypothesis import given, settings
from hypothesis import strategies as st

from nerx.engine.bases.known import EMBEDDED
from nerx.engine.label import Label, LabelSet
from nerx.engine.span import Span
from nerx.engine.tagging.guide import TokenSpan
from nerx.engine.tagging.loading import load_base
from nerx.engine.tagging.prompt import CAPITALISED, LOWER, MIXED, UPPER, is_border

LABELS = LabelSet.of("place", "person")


@pytest.fixture(scope="module", params=["embedded", "llama"])
def encoder(request, tmp_path_factory):
    folder = EMBEDDED if request.param == "embedded" else make_base("llama", tmp_path_factory.mktemp("llama"))
    return load_base(folder, device="cpu").encoder


def tagged(encoder, text, *spans):
    source = encoder.encode_source(text)
    head = encoder.encode_head(LABELS)
    answer = encoder.encode_tagged(source, [Span(*span) for span in spans], LABELS, head.trie)
    return [source.characters(first, last) for first, last, _ in answer.spans], answer


@pytest.mark.parametrize(
    ("text", "at", "expected"),
    [
        ("York", 2, False),
        ("100g", 3, True),  # digits | letters: quantity and unit
        ("1000", 2, False),
        ("New-York", 3, True),
        ("東京都", 1, True),  # no spaces between words: every character is a border
        ("Zu\u0308rich", 2, False),  # a combining mark belongs to what it marks
        ("\U0001f468\u200d\U0001f469", 1, False),  # nor is a family of emoji torn apart
        ("\U0001f468\u200d\U0001f469", 2, False),
        ("a\U0001f600", 1, True),
    ],
)
def test_a_marker_stands_only_where_a_word_may_end(text, at, expected):
    assert is_border(text, at, at) is expected


def test_annotations_come_back_at_the_same_characters(encoder):
    text = "Ada met Zoë in  New York\r\n(\u200bNY) — 東京 next."
    spans = [(0, 3, "person"), (8, 11, "person"), (16, 24, "place"), (34, 36, "place")]
    assert [text[a:b] for a, b, _ in spans] == ["Ada", "Zoë", "New York", "東京"]
    found, answer = tagged(encoder, text, *spans)
    assert found == [(a, b) for a, b, _ in spans]
    assert not answer.moved
    assert not answer.dropped


def test_a_border_inside_a_word_moves_outward_and_says_so(encoder):
    found, answer = tagged(encoder, "from Yorkshire today", (5, 9, "place"))
    assert found == [(5, 14)]
    assert [span.key for span in answer.moved] == [(5, 9, "place")]


def test_of_two_annotations_in_one_word_the_first_stays(encoder):
    found, answer = tagged(encoder, "Yorkshire", (0, 4, "place"), (4, 9, "person"))
    assert found == [(0, 9)]
    assert [span.key for span in answer.dropped] == [(4, 9, "person")]


def test_special_tokens_in_a_text_stay_text(encoder):
    text = "[CLS] [unused1] <s> </s> [SEP] [MASK]"
    source = encoder.encode_source(text)
    special = {encoder.tags.open, encoder.tags.bar, encoder.tags.close, *encoder.tags.head}
    assert len(source) > 6
    assert not special & set(source.ids) or encoder.tags.open > 10


@settings(deadline=None)
@given(st.text(max_size=60))
def test_offsets_are_in_order_and_inside_the_text(text):
    source = load_embedded().encode_source(text)
    assert len(source.borders) == (len(source) + 1 if len(source) else 1)
    for start, end in source.offsets:
        assert 0 <= start <= end <= len(text)
    assert all(a[0] <= b[0] for a, b in zip(source.offsets, source.offsets[1:], strict=False))


def load_embedded(cache=[]):  # noqa: B006  # loaded once for all of hypothesis' examples
    if not cache:
        cache.append(load_base(device="cpu").encoder)
    return cache[0]


def test_case_is_that_of_the_whole_word():
    source = load_embedded().encode_source("NASA and McDonald went to Paris, iPhones in hand")
    cases = dict(zip(source.offsets, source.cases, strict=True))
    by_word = {start: case for (start, _), case in cases.items()}
    assert (by_word[0], by_word[5], by_word[9], by_word[26], by_word[33]) == (UPPER, LOWER, MIXED, CAPITALISED, MIXED)


def test_labels_with_descriptions_end_where_their_states_are_read(encoder):
    head = encoder.encode_head(LabelSet((Label("place", "a town"), Label("person"))))
    assert len(head.label_ends) == 2
    assert all(head.ids[end] == encoder.tags.label_end[-1] for end in head.label_ends)


def test_chunks_of_a_source_keep_their_offsets(encoder):
    source = encoder.encode_source("one two three four")
    part = source.part(1, 3)
    assert part.offsets == source.offsets[1:3]
    assert part.borders[0]
    assert part.borders[-1]
    assert part.characters(0, 2) == (source.offsets[1][0], source.offsets[2][1])
    assert TokenSpan(0, 1, 0).end == 1


def test_chunks_of_a_long_text_overlap(tmp_path):
    encoder = load_base(make_base("llama", tmp_path / "base"), device="cpu").encoder
    parts = encoder.encode_chunks("Ada Lovelace wrote from London to Charles. " * 40, 60)
    assert len(parts) > 3
    for (before, source), (after, _) in pairwise(parts):
        assert after.first < before.last, "neighbours read no token in common"
        assert len(source) == before.last - before.first <= 60
        # The mention at a cut is read with context on both sides.
        assert source.offsets[-1][1] > before.end
