"""Label sets are ordered, distinct and never empty."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerx.engine.errors import InputError
from nerx.engine.label import Label, LabelSet


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=1, unique=True))
def test_labels_keep_their_order_and_are_found_by_name(names):
    labels = LabelSet.of(*names)
    assert labels.names == tuple(names)
    assert len(labels) == len(names)
    assert [label.name for label in labels] == names
    assert [labels.index(name) for name in names] == list(range(len(names)))


def test_an_unknown_label_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match="unknown label 'event'; known: person, place"):
        LabelSet.of("person", "place").index("event")


def test_empty_blank_and_repeated_labels_are_refused():
    with pytest.raises(InputError, match="at least one label"):
        LabelSet(())
    with pytest.raises(InputError, match="blank"):
        LabelSet.of("person", " ")
    with pytest.raises(InputError, match=r"more than once: place$"):
        LabelSet.of("place", "person", "place")


def test_a_prefix_another_script_and_a_description_are_all_fine():
    labels = LabelSet((Label("film"), Label("film title", "as on the poster"), Label("人名")))
    assert labels.index("film title") == 1
    assert labels.labels[1].description == "as on the poster"
