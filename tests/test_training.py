"""The training runs of a fit: what decides on the fusion, when a run stops, and which weights the adapter gets."""

from pathlib import Path

import pytest
import torch
from families import make_base

from nerx.adapters.fusion import DEFAULT, Fusion, choose_fusion
from nerx.adapters.hyperparameters import Hyperparameters
from nerx.adapters.trainer import State, Step, Trainer
from nerx.adapters.training import EVALUATIONS, FEWEST_MENTIONS, PATIENCE, Training
from nerx.engine.bases.known import EMBEDDED
from nerx.engine.label import Label, LabelSet
from nerx.engine.span import Seed, Span
from nerx.engine.tagging.drafter import Drafter
from nerx.engine.tagging.loading import load_base, load_drafter

LABELS = LabelSet((Label("person"), Label("place")))
NAMES = ("Ada", "Alan", "Grace", "Emmy", "Edsger", "Barbara")
PLACES = ("London", "Oslo", "Lima", "Rome", "Austin", "Boston")


def seeds_of(count: int, labels: tuple[str, str] = ("person", "place")) -> list[Seed]:
    """Texts with two mentions each."""
    made = []
    for n in range(count):
        name, place = NAMES[n % 6], PLACES[(n // 6 + n) % 6]
        text = f"{name} went to {place} in week {n}."
        at = text.index(place)
        made.append(Seed(text, (Span(0, len(name), labels[0]), Span(at, at + len(place), labels[1]))))
    return made


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    """Of a tiny random base, whose drafter knows nothing."""
    model = load_base(make_base("llama", tmp_path / "base"), device="cpu")
    torch.manual_seed(0)
    return Trainer(model, Drafter(model.width), LABELS, Hyperparameters(rank=2, epochs=2), 0)


def equal(one: State, other: State) -> bool:
    return all(torch.equal(mine, yours) for mine, yours in zip(one, other, strict=True))


def test_the_fusion_is_the_one_that_held_out_decisions_ask_for(trainer: Trainer) -> None:
    dev = seeds_of(30)
    learned = Training(trainer, seeds_of(6), 0, lambda *_: None).with_dev(dev)
    judged = trainer.judge(dev)  # with the weights that were kept
    assert learned.fusion == choose_fusion(judged, DEFAULT) != DEFAULT

    def loss(fusion: Fusion) -> float:
        fused = [(one.logits + fusion.alpha * one.bias) / fusion.temperature for one in judged]
        return -sum(float(each.log_softmax(0)[one.right]) for each, one in zip(fused, judged, strict=True))

    assert loss(learned.fusion) < loss(DEFAULT)


def test_the_adapter_is_the_mean_of_both_runs(trainer: Trainer) -> None:
    ends: dict[str, State] = {}

    def tell(stage: str, step: Step, _: float | None) -> None:
        if step.step == step.steps:
            ends[stage] = trainer.state()

    Training(trainer, seeds_of(16), 0, tell).with_rehearsal()
    assert not equal(ends["rehearse"], ends["train"])
    mean = [(before + after) / 2 for before, after in zip(ends["rehearse"], ends["train"], strict=True)]
    assert equal(trainer.state(), mean)


def test_a_run_that_gets_worse_stops_early_and_keeps_its_best_weights() -> None:
    """A primed base finds persons and places at once. Seeds that call them the other way round unteach it."""
    model = load_base(EMBEDDED, device="cpu")
    chosen = Hyperparameters(rank=8, epochs=40, learning_rate=3e-4, swap=0.0, full=1.0)
    trainer = Trainer(model, load_drafter(EMBEDDED, model.width), LABELS, chosen, 0)
    steps: list[Step] = []
    dev = seeds_of(FEWEST_MENTIONS // 2)
    learned = Training(trainer, seeds_of(6, ("place", "person")), 0, lambda _, step, __: steps.append(step)).with_dev(
        dev
    )
    scores = [point.dev_f1 for point in learned.curve]
    assert len(scores) < EVALUATIONS
    assert steps[-1].step < steps[-1].steps
    best = max(scores)
    assert len(scores) - 1 - max(at for at, score in enumerate(scores) if score == best) == PATIENCE
    assert learned.evaluation is not None
    assert learned.evaluation.micro.f1 == best > scores[-1]
