"""Chunks partition a text, respect the limit, and their spans merge without overlap."""

import re
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerx.engine.span import Span
from nerx.engine.tagging.chunk import Chunk, chunk, merge

ASTRONAUT = "\N{WOMAN}\N{EMOJI MODIFIER FITZPATRICK TYPE-4}\N{ZERO WIDTH JOINER}\N{ROCKET}"
ACCENTED = "e\N{COMBINING ACUTE ACCENT}\N{COMBINING DOT BELOW}"
WORDS = ["Ana", "Lima", "日本語", "שלום", "[[x|y]]", "a" * 40, ASTRONAUT, ACCENTED]
BREAKS = [" ", ". ", "\n\n", "\r\n", "。", ", ", "\t", "?! ", "    "]
texts = st.lists(st.sampled_from(WORDS + BREAKS), max_size=60).map("".join) | st.text(max_size=80)
limits = st.integers(1, 30).flatmap(lambda limit: st.tuples(st.just(limit), st.integers(0, limit - 1)))


def word_offsets(text: str) -> list[tuple[int, int]]:
    """Tokens of at most five characters that leave whitespace out, as a word piece tokenizer does."""
    return [match.span() for match in re.finditer(r"\w{1,5}|[^\w\s]", text)]


def byte_offsets(text: str) -> list[tuple[int, int]]:
    """A token a UTF-8 byte: the tokens of one character share its range."""
    return [(at, at + 1) for at, char in enumerate(text) for _ in char.encode("utf-8", "surrogatepass")]


def owned(text: str, chunks: list[Chunk]) -> list[str]:
    return [text[part.start : part.end] for part in chunks]


@pytest.mark.parametrize("offsets_of", [word_offsets, byte_offsets])
@given(text=texts, sizes=limits)
def test_owned_ranges_partition_the_text_and_windows_cover_all_tokens_within_the_limit(offsets_of, text, sizes):
    limit, overlap = sizes
    offsets = offsets_of(text)
    chunks = chunk(text, offsets, limit, overlap)
    assert [part.start for part in chunks] == [0, *(part.end for part in chunks[:-1])]
    assert chunks[-1].end == len(text)
    assert sum(part.end - part.start for part in chunks) == len(text)
    assert all(0 <= part.last - part.first <= limit for part in chunks)
    assert chunks[0].first == 0
    assert chunks[-1].last == len(offsets)
    for left, right in pairwise(chunks):
        assert 0 <= left.last - right.first <= overlap


@given(text=texts, sizes=limits)
def test_a_chunk_reads_every_token_that_begins_in_the_range_it_owns(text, sizes):
    offsets = word_offsets(text)
    for part in chunk(text, offsets, *sizes):
        inside = [index for index, (start, _) in enumerate(offsets) if part.start <= start < part.end]
        assert all(part.first <= index < part.last for index in inside)


@given(text=texts, spare=st.integers(0, 9))
def test_a_text_that_fits_is_one_chunk(text, spare):
    offsets = word_offsets(text)
    assert chunk(text, offsets, len(offsets) + spare + 1, 0) == [Chunk(0, len(offsets), 0, len(text))]


@given(text=texts, sizes=limits, data=st.data())
def test_merged_spans_are_sorted_never_overlap_and_come_from_the_owner_of_their_start(text, sizes, data):
    chunks = chunk(text, word_offsets(text), *sizes)
    start = st.integers(0, max(len(text) - 1, 0))
    any_span = st.builds(
        lambda at, length, label: Span(at, at + length, label), start, st.integers(1, 9), st.sampled_from("AB")
    )
    found = [data.draw(st.lists(any_span, max_size=4)) for _ in chunks]
    merged = merge(chunks, found)
    assert all(left.end <= right.start for left, right in pairwise(merged))
    for span in merged:
        assert any(
            span in spans and part.start <= span.start < part.end for part, spans in zip(chunks, found, strict=True)
        )


@given(text=texts, sizes=limits)
def test_what_every_chunk_agrees_on_survives_the_merge_whole(text, sizes):
    gold = [Span(match.start(), match.end(), "name") for match in re.finditer(r"Ana|Lima", text)]
    offsets = [(0, 0), *word_offsets(text)][1:]
    chunks = chunk(text, offsets, *sizes)
    assert merge(chunks, [gold for _ in chunks]) == gold


def test_cuts_prefer_paragraphs_to_sentences_to_clauses_to_words():
    def cut(text: str) -> str:
        return owned(text, chunk(text, word_offsets(text), 8, 0))[0]

    assert cut("one two three four\n\nfive. Six seven eight nine") == "one two three four\n\n"
    assert cut("one two three four\nfive, six seven eight nine") == "one two three four\n"
    assert cut('one two "three four." Five, six eight nine') == 'one two "three four." '
    assert cut("one two three four, five six eight nine") == "one two three four, "
    assert cut("one two three four five six sev eightnine ten") == "one two three four five six sev "


def test_a_cjk_text_is_cut_after_its_full_stop_without_any_whitespace():
    text = "安娜住在利马。她说「你好。」然后离开了城市"
    offsets = [(at, at + 1) for at in range(len(text))]
    assert owned(text, chunk(text, offsets, 15, 0)) == ["安娜住在利马。她说「你好。」", "然后离开了城市"]
    assert owned(text, chunk(text, offsets, 11, 0))[0] == "安娜住在利马。"


def test_no_cut_falls_into_an_emoji_sequence_or_between_a_letter_and_its_accent():
    for unit in [ASTRONAUT, ACCENTED]:
        text = unit * 20
        parts = owned(text, chunk(text, byte_offsets(text), 40, 8))
        assert all(len(part) % len(unit) == 0 for part in parts)
        assert len(parts) > 1


def test_windows_begin_and_end_at_words():
    text = " ".join(["incomprehensible"] * 40)
    offsets = word_offsets(text)
    chunks = chunk(text, offsets, 40, 10)
    assert len(chunks) > 2
    for part in chunks:
        start, end = offsets[part.first][0], offsets[part.last - 1][1]
        assert text[start:end].startswith("incomprehensible")
        assert text[start:end].endswith("incomprehensible")


def test_minified_text_is_cut_at_punctuation_before_it_is_cut_inside_a_word():
    text = '{"name":"Ana","city":"Limaisthecity"}'
    assert owned(text, chunk(text, [(at, at + 1) for at in range(len(text))], 34, 0))[0].endswith('"')


def test_a_span_over_a_cut_is_kept_by_the_chunk_in_which_it_starts():
    chunks = [Chunk(0, 12, 0, 10), Chunk(8, 20, 10, 20)]
    whole, tail, later = Span(8, 12, "person"), Span(10, 12, "place"), Span(13, 15, "place")
    assert merge(chunks, [[whole, later], [tail, later]]) == [whole, later]
    assert merge(chunks, [[], [whole, tail]]) == [tail]


@pytest.mark.parametrize("unit", ["a", " ", "\n", "漢", '."', "a\n  "])
def test_a_megabyte_without_usable_borders_takes_linear_time(unit):
    text = unit * (1_000_000 // len(unit))
    offsets = [(at, at + 4) for at in range(0, len(text) - 3, 4)]
    began = time.perf_counter()
    chunks = chunk(text, offsets, 400, 50)
    assert time.perf_counter() - began < 15  # seconds; it takes about one, and hours if it were quadratic
    assert sum(part.end - part.start for part in chunks) == len(text)
    assert len(chunks) < 2 * len(offsets) / (400 - 50) + 2


def test_impossible_sizes_and_mismatched_lists_are_refused():
    for limit, overlap in [(0, 0), (5, 5), (5, -1)]:
        with pytest.raises(ValueError, match=f"overlap {overlap} and limit {limit}"):
            chunk("text", [(0, 4)], limit, overlap)
    with pytest.raises(ValueError, match="1 chunks, 2 lists"):
        merge([Chunk(0, 1, 0, 4)], [[], []])
