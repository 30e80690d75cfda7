"""One training run: its learning rate, the texts that it learns from, the layers that learn, and that it stops
where it goes wrong."""

from pathlib import Path
from typing import Any

import pytest
import torch
from commands import Nerx
from families import FAMILIES, make_base
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch.optim.optimizer import register_optimizer_step_pre_hook

from nerx.adapters.hyperparameters import Hyperparameters
from nerx.adapters.trainer import Trainer, learning_modules, share_of_peak
from nerx.engine.bases.size import stored_parameters
from nerx.engine.errors import InputError
from nerx.engine.label import Label, LabelSet
from nerx.engine.span import Seed, Span
from nerx.engine.tagging.loading import load_base

SEEDS = [
    Seed("Ada wrote from London.", (Span(0, 3, "person"), Span(15, 21, "place"))),
    Seed("In Paris it rained.", (Span(3, 8, "place"),)),
    Seed("Emmy met Alan in Oslo.", (Span(0, 4, "person"), Span(9, 13, "person"), Span(17, 21, "place"))),
]


def trainer_of(folder: Path, **chosen: Any) -> Trainer:
    base = make_base("llama", folder) if not folder.exists() else folder
    labels = LabelSet((Label("person"), Label("place")))
    return Trainer(load_base(base, device="cpu"), None, labels, Hyperparameters(rank=2, **chosen), 0)


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


def test_every_step_takes_its_share_of_both_rates(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path / "base", learning_rate=1e-3, drafter_rate=5e-4, batch_tokens=60)
    rates: list[list[float]] = []
    hook = register_optimizer_step_pre_hook(
        lambda optimizer, *_: rates.append([group["lr"] for group in optimizer.param_groups])
    )
    try:
        steps = list(trainer.run(SEEDS, 10))
    finally:
        hook.remove()
    assert len(rates) == len(steps) == steps[-1].steps >= 20
    for at, (lora, drafter) in enumerate(rates):
        share = share_of_peak(at, steps[at].steps)
        assert (lora, drafter) == pytest.approx((1e-3 * share, 5e-4 * share))
    assert rates[0][0] < 0.6e-3  # warming up


def test_mentions_are_swapped_in_the_texts_that_are_learned(tmp_path: Path) -> None:
    states = []
    for swap in (0.0, 1.0):
        trainer = trainer_of(tmp_path / "base", swap=swap, full=1.0)
        list(trainer.run(SEEDS, 2))
        states.append(trainer.state())
    assert any(not torch.equal(plain, swapped) for plain, swapped in zip(*states, strict=True))


def spoiled_base(folder: Path, name: str, rows: slice) -> Path:
    """A base with weights that are no numbers."""
    base = make_base("llama", folder)
    weights = load_file(base / "model.safetensors")
    weights[name][rows] = float("nan")
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    return base


def test_a_base_whose_weights_are_no_numbers_is_refused(nerx: Nerx, seed_file: Path, tmp_path: Path) -> None:
    base = spoiled_base(tmp_path / "base", "model.norm.weight", slice(3, 4))
    done = nerx("fit", seed_file, "--base", base, "--out", tmp_path / "adapter")
    assert (done.code, len(done.errors)) == (2, 1)
    assert "no finite numbers" in done.errors[0]
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


def test_a_fit_whose_loss_is_no_number_stops_and_writes_nothing(nerx: Nerx, seed_file: Path, tmp_path: Path) -> None:
    base = spoiled_base(tmp_path / "base", "model.embed_tokens.weight", slice(60, None))
    done = nerx("fit", seed_file, "--base", base, "--out", tmp_path / "adapter", "--epochs", 2, "--rank", 2)
    assert (done.code, len(done.errors)) == (2, 1)
    assert "the loss is [nan" in done.errors[0]
    assert "at step 1 of" in done.errors[0]
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


def test_weights_that_are_no_numbers_are_not_saved(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path / "base")
    (tmp_path / "adapter").mkdir()
    with torch.no_grad():
        next(weight for weight in trainer.network.parameters() if weight.requires_grad)[0, 0] = float("inf")
    with pytest.raises(InputError, match="weights are no finite numbers"):
        trainer.save(tmp_path / "adapter")
    assert list((tmp_path / "adapter").iterdir()) == []


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
