"""The training runs of one fit: a short rehearsal that holds seeds out, then a run over all seeds, and their mean."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ..engine.review.metrics import Evaluation
from ..engine.span import Seed
from ..engine.tagging.card import AdapterCard
from ..engine.tagging.extractor import Extractor
from .evaluate import evaluate_adapter
from .fusion import DEFAULT, Fusion, choose_fusion
from .split import split
from .trainer import State, Step, Trainer

HELD_OUT = 0.25
"""Share of the seeds that the rehearsal holds out."""

REHEARSED = 15
"""The most epochs that the rehearsal takes. At 5 shots training takes 30, and 15 are as good (the mean F1 of five sets
differs by less than half a point). With 93 texts training takes 13, and half of those found 3 points less."""

EVALUATIONS = 5
"""Number of evaluations in a training run. Early stopping looks at them."""

PATIENCE = 2
"""Training stops after this many evaluations without a better F1."""

FEWEST_MENTIONS = 100
"""With fewer held-out mentions F1 is too coarse to choose an epoch by, and the run goes to its end."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One evaluation, after `epoch` epochs and `step` steps: running losses and strict micro-F1 on held-out texts."""

    epoch: float
    step: int
    loss: float
    contrast: float
    draft: float
    dev_f1: float


@dataclass(frozen=True, slots=True)
class Learned:
    """What the training runs find out beside the weights. `evaluation` is None where no seed could be held out."""

    fusion: Fusion
    evaluation: Evaluation | None
    curve: tuple[CurvePoint, ...]
    epochs: int
    held_out: int


Tell = Callable[[str, Step, float | None], None]
"""A callback that hears the stage, the step, and the last F1 on held-out texts."""


class Training:
    """Decides which runs a trainer makes over the seeds of one fit, and when each run stops."""

    def __init__(self, trainer: Trainer, seeds: Sequence[Seed], seed: int, tell: Tell, start: Fusion = DEFAULT) -> None:
        """`start`: the fusion that counts until held-out decisions speak for another."""
        self._trainer, self._seeds, self._seed, self._tell, self._start = trainer, seeds, seed, tell, start

    def with_dev(self, dev: Sequence[Seed]) -> Learned:
        """Make one run over all seeds. `dev` decides when it stops, which weights are kept, and the fusion."""
        return self._run("train", self._seeds, dev, self._trainer.epochs(self._seeds))

    def with_rehearsal(self) -> Learned:
        """Make a run with seeds held out, which finds the number of epochs and the fusion; then one over all seeds.

        The second run begins from the start. The adapter is the mean of both runs' weights, which costs nothing
        (Wortsman et al. 2022, "Model soups").
        """
        epochs = self._trainer.epochs(self._seeds)
        kept, held = split(self._seeds, HELD_OUT, self._seed)
        if not held:
            return self._run("train", self._seeds, (), epochs)
        most = min(epochs, REHEARSED)
        rehearsal = self._run("rehearse", kept, held, most)
        first = self._trainer.state()
        self._trainer.restore()
        trained = self._run("train", self._seeds, (), max(1, round(epochs * rehearsal.epochs / most)))
        pairs = zip(first, self._trainer.state(), strict=True)
        self._trainer.restore([(before + after) / 2 for before, after in pairs])
        return replace(rehearsal, epochs=trained.epochs)

    def extractor(self, fusion: Fusion) -> Extractor:
        """The extractor that production uses, over the weights as they are now."""
        trainer = self._trainer
        card = AdapterCard(
            labels=trainer.labels,
            base=trainer.model.name,
            base_digest=trainer.model.digest,
            tag_format=trainer.model.tags.to_dict(),
            nerx_version="",
            created="",
            rank=trainer.hyperparameters.rank,
            alpha=fusion.alpha,
            temperature=fusion.temperature,
            min_score=trainer.hyperparameters.min_score,
            text_limit=trainer.text_limit,
        )
        return Extractor(trainer.model, trainer.drafter, card)

    def _run(self, stage: str, seeds: Sequence[Seed], held: Sequence[Seed], epochs: int) -> Learned:
        """Train; where texts are held out, evaluate on the way, stop early, and end on the best weights."""
        watch = _Watch(sum(len(seed.spans) for seed in held) >= FEWEST_MENTIONS)
        due = 1
        for step in self._trainer.run(seeds, epochs):
            if held and step.step >= due * step.steps / EVALUATIONS:
                due += 1
                self._evaluate(watch, step, held)
            self._tell(stage, step, watch.curve[-1].dev_f1 if watch.curve else None)
            if watch.is_stalled:
                break
        if watch.best is None:
            return Learned(self._start, None, (), epochs, 0)
        best = watch.best
        self._trainer.restore(best.state)
        return Learned(best.fusion, best.evaluation, tuple(watch.curve), max(1, round(best.epoch)), len(held))

    def _evaluate(self, watch: "_Watch", step: Step, held: Sequence[Seed]) -> None:
        fusion = choose_fusion(self._trainer.judge(held), self._start)
        with self._trainer.reading():
            evaluation = evaluate_adapter(self.extractor(fusion), held)
        watch.note(_Best(step.epoch, fusion, evaluation, self._trainer.state()))
        losses = step.legal, step.contrast, step.draft
        watch.curve.append(CurvePoint(step.epoch, step.step, *losses, evaluation.micro.f1))


@dataclass(frozen=True, slots=True)
class _Best:
    epoch: float
    fusion: Fusion
    evaluation: Evaluation
    state: State


@dataclass(slots=True)
class _Watch:
    """The evaluations of one run. With `chooses` False they are too coarse, and the latest counts as the best."""

    chooses: bool
    best: _Best | None = None
    curve: list[CurvePoint] = field(default_factory=list)
    _behind: int = 0

    @property
    def is_stalled(self) -> bool:
        return self._behind >= PATIENCE

    def note(self, latest: _Best) -> None:
        if self.best is None or not self.chooses or latest.evaluation.micro.f1 >= self.best.evaluation.micro.f1:
            self.best, self._behind = latest, 0
        else:
            self._behind += 1
