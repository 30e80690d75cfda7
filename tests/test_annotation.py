"""One line at a time: any JSON object is a seed or is explained."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerx.adapters.annotation import LineError, parse_seed
from nerx.engine.span import Seed


def outcome(record) -> tuple[Seed | None, tuple[str, ...]]:
    try:
        return parse_seed(record, "here"), ()
    except LineError as error:
        return None, error.messages


OTHER_UNITS = [
    ("😀 Ana", 3, 6, "Ana", "these are UTF-16 offsets: in characters 'Ana' is 2:5"),
    ("😀 Ana", 5, 8, "Ana", "these are byte offsets: in characters 'Ana' is 2:5"),
    ("😀 Ana", 3, 6, None, "these may be UTF-16 offsets: in characters 'Ana' is 2:5"),
    ("é Ana!", 3, 6, "Ana", "these are byte offsets: in characters 'Ana' is 2:5"),
    ("Ana Lima", 4, 7, "Lima", "the end is exclusive: write 4:8"),
    ("Ana Lima", 3, 7, "Lima", "it is at 4:8"),
    ("Ana Ana x", 3, 6, "Ana", "that occurs 2 times in the text: correct the offsets"),
    ("Ana Lima", 4, 8, "Rome", "that is not in the text"),
    ("Ana Lima", 4, 8, "", "correct the offsets"),
]


@pytest.mark.parametrize(("text", "start", "end", "recorded", "advice"), OTHER_UNITS)
def test_a_recorded_mention_tells_the_unit_of_wrong_offsets(text, start, end, recorded, advice):
    with pytest.raises(LineError) as caught:
        parse_seed({"text": text, "entities": [{"start": start, "end": end, "label": "x", "text": recorded}]}, "")
    assert caught.value.messages[0].endswith(f"; {advice}")


@given(st.text(min_size=1), st.integers(-3, 30), st.integers(-3, 30), st.none() | st.text(max_size=5))
def test_any_offsets_either_hold_or_are_explained(text, start, end, recorded):
    record = {"text": text, "entities": [{"start": start, "end": end, "label": "x", "text": recorded}]}
    seed, messages = outcome(record)
    if seed is None:
        assert all("; " in message for message in messages)
    else:
        mention = seed.text[start:end]
        assert mention == mention.strip() != ""
        assert recorded in (None, mention)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["start", "end", "label", "x"]), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["text", "entities", "spans", "id", "x"]), json_values | st.just("Ana")))
def test_no_json_object_raises_anything_but_a_line_error(record):
    seed, messages = outcome(record)
    assert seed or messages
