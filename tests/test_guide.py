"""The copy-or-tag automaton on a ten-token alphabet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerx.engine.errors import InputError
from nerx.engine.tagging.guide import Guide, LabelTrie, Phase, TokenSpan, write
from nerx.engine.tagging.tags import TagFormat

OPEN, BAR, CLOSE = 7, 8, 9
TAGS = TagFormat(OPEN, BAR, CLOSE, (0,), (), (), (), ())
LABELS = LabelTrie(("a", "a b", "c"), ((1,), (1, 2), (3,)), CLOSE)  # the first is a prefix of the second

sources = st.lists(st.integers(1, 9), max_size=12)


@st.composite
def bordered_sources(draw):
    source = draw(sources)
    inner = draw(st.lists(st.booleans(), min_size=max(0, len(source) - 1), max_size=max(0, len(source) - 1)))
    return source, ([True, *inner, True] if source else [True])


def guide_for(source, borders=None):
    return Guide(source, borders or [True] * (len(source) + 1), LABELS, TAGS)


def run(guide, tokens):
    for token in tokens:
        guide.advance(token)
    return guide


@given(bordered_sources(), st.randoms(use_true_random=False))
def test_any_legal_walk_copies_the_whole_source_and_nothing_else(bordered, random):
    source, borders = bordered
    guide = guide_for(source, borders)
    copied, steps = [], 0
    while not guide.is_finished:
        before = guide.state.copied
        token = random.choice(guide.allowed())
        guide.advance(token)
        if guide.state.copied > before:
            copied.append(token)
        steps += 1
        assert steps < 200
    assert copied == source
    assert guide.allowed() == ()
    ends = 0
    for mention in guide.mentions():
        assert ends <= mention.span.start < mention.span.end <= len(source)
        assert borders[mention.span.start]
        assert borders[mention.span.end]
        ends = mention.span.end


@given(bordered_sources(), st.randoms(use_true_random=False), st.integers(0, 30))
def test_rollback_undoes_steps_exactly(bordered, random, steps):
    guide = guide_for(*bordered)
    states = [guide.state]
    while not guide.is_finished:
        guide.advance(random.choice(guide.allowed()))
        states.append(guide.state)
    back = min(steps, len(states) - 1)
    guide.rollback(back)
    assert guide.state == states[len(states) - 1 - back]


def test_written_spans_come_back_with_their_labels_and_steps():
    source = [1, 2, 3, 4]
    spans = [TokenSpan(0, 1, 1), TokenSpan(2, 4, 2)]
    tokens = write(source, spans, LABELS, TAGS)
    assert tokens == [OPEN, 1, BAR, 1, 2, CLOSE, 2, OPEN, 3, 4, BAR, 3, CLOSE]
    mentions = run(guide_for(source), tokens).mentions()
    assert [mention.span for mention in mentions] == spans
    assert mentions[0].steps == (0, 2, 3, 4, 5)


def test_a_label_that_is_a_prefix_of_another_can_be_closed_or_continued():
    guide = run(guide_for([5]), [OPEN, 5, BAR, 1])
    assert set(guide.allowed()) == {CLOSE, 2}


def test_markers_in_the_source_are_copied_and_never_mistaken():
    source = [OPEN, 5, BAR, CLOSE]
    guide = guide_for(source)
    assert guide.allowed() == (OPEN,)  # a mention cannot begin at a literal opening marker
    run(guide, source)
    assert guide.is_finished
    assert guide.mentions() == []
    inside = run(guide_for([5, BAR, 6]), [OPEN, 5])
    assert inside.allowed() == (BAR,)  # the copy: a mention cannot end before a literal bar
    inside.advance(BAR)
    assert inside.state.phase is Phase.INSIDE


def test_a_mention_needs_a_token_and_ends_at_the_text_s_end():
    guide = run(guide_for([5]), [OPEN])
    assert guide.allowed() == (5,)
    guide.advance(5)
    assert guide.allowed() == (BAR,)


def test_no_marker_stands_where_there_is_no_border():
    guide = guide_for([5, 6], [True, False, True])
    run(guide, [5])
    assert guide.allowed() == (6,)


def test_an_illegal_token_is_refused():
    with pytest.raises(ValueError, match="not among the allowed"):
        guide_for([5]).advance(6)


@pytest.mark.parametrize(
    ("pieces", "message"),
    [(((1,), (1,)), "read alike"), (((1,), (CLOSE, 2)), "cannot be written"), (((1,), ()), "cannot be written")],
)
def test_labels_that_cannot_be_told_apart_are_refused(pieces, message):
    with pytest.raises(InputError, match=message):
        LabelTrie(("x", "y"), pieces, CLOSE)
