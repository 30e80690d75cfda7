"""Splits keep labels in proportion, never lose one from train, and repeat exactly."""

import os
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerx.adapters.split import MIN_SEEDS, split
from nerx.engine.span import Seed, Span

LABELS = "ABCDEF"


def seed_of(index: int, labels) -> Seed:
    spans = tuple(Span(place, place + 1, label) for place, label in enumerate(labels))
    return Seed(f"text {index}", spans, f"seeds.jsonl:{index + 1}")


label_lists = st.lists(st.lists(st.sampled_from(LABELS), max_size=4), max_size=40)
seed_lists = label_lists.map(lambda lists: [seed_of(index, labels) for index, labels in enumerate(lists)])


def labels_in(seeds) -> set[str]:
    return {span.label for seed in seeds for span in seed.spans}


@given(seed_lists, st.floats(0, 0.99), st.integers(0, 5))
def test_a_split_shares_out_every_seed_once_in_order_and_train_keeps_every_label(seeds, share, seed):
    train, dev = split(seeds, share, seed)
    places = [seeds.index(one) for one in train], [seeds.index(one) for one in dev]
    assert sorted(places[0] + places[1]) == list(range(len(seeds)))
    assert all(side == sorted(side) for side in places)
    assert labels_in(train) == labels_in(seeds)
    assert (train, dev) == split(seeds, share, seed)


def test_labels_are_held_out_in_proportion_where_chance_would_miss_the_rare_one():
    labels = ["A"] * 80 + ["B"] * 15 + ["C"] * 5
    for seed in range(10):
        _, dev = split([seed_of(index, label) for index, label in enumerate(labels)], 0.2, seed)
        assert Counter(span.label for one in dev for span in one.spans) == {"A": 16, "B": 3, "C": 1}


def test_texts_without_entities_are_held_out_in_proportion_too():
    seeds = [seed_of(index, "A" if index % 2 else "") for index in range(40)]
    _, dev = split(seeds, 0.25, 3)
    assert Counter(bool(one.spans) for one in dev) == {True: 5, False: 5}


def test_few_seeds_hold_nothing_out():
    seeds = [seed_of(index, "A") for index in range(MIN_SEEDS - 1)]
    assert split(seeds, 0.3, 0) == (seeds, [])


def test_the_only_text_of_a_label_is_never_held_out():
    seeds = [seed_of(index, "A") for index in range(20)] + [seed_of(20, "AB")]
    assert all(seeds[20] in split(seeds, 0.5, chance)[0] for chance in range(8))


def test_another_seed_gives_another_split():
    seeds = [seed_of(index, LABELS[index % 3]) for index in range(60)]
    assert split(seeds, 0.2, 0) != split(seeds, 0.2, 1)


def test_the_split_does_not_depend_on_the_hash_seed_of_the_process():
    code = (
        "from nerx.adapters.split import split; from nerx.engine.span import Seed, Span;"
        "seeds = [Seed(str(i), (Span(0, 1, 'ABCDE'[i % 5]), Span(1, 2, 'vwxyz'[i * i % 5])), '') for i in range(50)];"
        "print([seed.text for seed in split(seeds, 0.2, 7)[1]])"
    )
    outputs = set()
    for hash_seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        run = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
        outputs.add(run.stdout)
    assert len(outputs) == 1


def test_impossible_requests_are_refused():
    for share in (-0.1, 1, float("nan")):
        with pytest.raises(ValueError, match="share"):
            split([], share, 0)
