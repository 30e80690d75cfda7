"""The learning rate over a training run, and the layers that learn."""

import pytest
from families import FAMILIES, make_base
from hypothesis import given
from hypothesis import strategies as st

from nerx.adapters.trainer import learning_modules, share_of_peak
from nerx.engine.bases.size import stored_parameters
from nerx.engine.tagging.loading import load_base


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


@pytest.mark.parametrize("family", FAMILIES)
def test_the_upper_half_of_the_layers_is_what_learns_in_it(family, tmp_path):
    network = load_base(make_base(family, tmp_path)).network
    layers = network.config.num_hidden_layers
    found = learning_modules(network, 0.5)
    assert {int(name.split(".")[2]) for name in found} == set(range(layers - round(layers / 2), layers))
    per_layer = [name for name in found if name.split(".")[2] == str(layers - 1)]
    assert len(found) == len(per_layer) * round(layers / 2)
    assert learning_modules(network, 1.0) == "all-linear"


def test_the_parameters_of_a_base_are_counted_without_reading_its_weights(tmp_path):
    folder = make_base("qwen3", tmp_path)
    assert stored_parameters(folder) == load_base(folder).size
    assert stored_parameters(tmp_path / "nowhere") == 0
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    assert stored_parameters(tmp_path) == 0
