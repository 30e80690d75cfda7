"""The learning rate over a training run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerx.adapters.trainer import share_of_peak


def test_the_rate_warms_up_over_a_tenth_of_the_steps_and_then_decays():
    shares = [share_of_peak(step, 100) for step in range(100)]
    assert shares[:10] == pytest.approx([(step + 1) / 10 * (1 - step / 100) for step in range(10)])
    assert shares[10:98] == pytest.approx([1 - step / 100 for step in range(10, 98)])
    assert shares[98:] == [0.03] * 2


@given(st.integers(1, 5000).flatmap(lambda steps: st.tuples(st.integers(0, steps - 1), st.just(steps))))
def test_the_rate_is_never_zero_and_never_above_its_peak(place):
    assert 0 < share_of_peak(*place) <= 1


def test_a_run_of_one_step_takes_the_whole_rate():
    assert share_of_peak(0, 1) == 1
