"""The cache's buffers against the library's own concatenating cache, and the order in which rows go on."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import DynamicCache

from nerx.engine.tagging.slots import Slots, closed

HEADS, WIDTH = 2, 4


def states(rows, count, seed):
    return torch.randn(2, rows, HEADS, count, WIDTH, generator=torch.Generator().manual_seed(seed))


def head_cache(count):
    cache = DynamicCache()
    for layer in range(2):
        cache.update(*states(1, count, layer), layer)
    return cache


def test_tokens_stand_where_concatenation_puts_them_however_little_room_there_is():
    for room in (0, 3, 100):
        slots, plain = Slots(head_cache(5), 3, room), head_cache(5)
        plain.batch_repeat_interleave(3)
        for turn, count in enumerate((4, 1, 7)):
            for layer in range(2):
                new = states(3, count, 10 + turn + layer)
                for ours, theirs in zip(slots.cache.update(*new, layer), plain.update(*new, layer), strict=True):
                    assert torch.equal(ours, theirs)


def test_rows_that_go_on_keep_their_tokens():
    slots = Slots(head_cache(2), 6, 4)
    keys, values = states(6, 3, 7)
    slots.cache.update(keys, values, 0)
    slots.cache.update(values, keys, 1)
    slots.extend(torch.arange(2, 5).repeat(6, 1), [3] * 6)
    order = closed([0, 2, 5])
    slots.keep(order)
    more = states(3, 1, 8)
    held, _ = slots.cache.update(*more, 0)
    assert torch.equal(held[:, :, 2:5], keys[order])
    assert torch.equal(held[:, :, 5:], more[0])
    assert slots.lengths == [5, 5, 5]


def test_rejected_tokens_leave_their_slots_when_they_outnumber_what_stands():
    slots = Slots(head_cache(1), 2, 2)
    keys, values = states(2, 9, 7)
    for layer in range(2):
        slots.cache.update(keys, values, layer)
    slots.extend(torch.arange(1, 10).repeat(2, 1), [9] * 2)
    slots.reject([2, 3], [9, 9])
    assert slots.lengths == [3, 4]
    assert slots.order.tolist() == [[0, 1, 2, -1], [0, 1, 2, 3]]
    assert torch.equal(slots.cache.layers[1].keys[1, :, 1:], keys[1, :, :3])


@pytest.mark.parametrize(("going", "expected"), [([0, 1, 2], [0, 1, 2]), ([1, 2, 3], [3, 1, 2]), ([5], [5])])
def test_a_gap_is_closed_by_one_of_the_last_rows(going, expected):
    assert closed(going) == expected


@given(st.sets(st.integers(0, 40)))
def test_closing_gaps_loses_no_row_and_moves_only_rows_from_behind(going):
    order = closed(sorted(going))
    assert set(order) == going
    assert all(place == row or row >= len(going) for place, row in enumerate(order))
