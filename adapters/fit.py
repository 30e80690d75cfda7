"""`fit`: seeds in, an adapter folder out. Reads as a list of verbs; each is a module of its own.

Without `--dev` the seeds are rehearsed first: some are held out, and from training on the rest come the number of
epochs, the weight of the drafter's evidence and the scores on the card. Then the weights go back to the start and
learn from all seeds, since with a few dozen texts none can be spared. The adapter is the mean of both runs.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..engine.bases.find import BaseEvent, base_folder
from ..engine.errors import InputError, SeedError
from ..engine.label import LabelSet
from ..engine.review.metrics import Evaluation
from ..engine.span import Seed
from ..engine.tagging.loading import load_base, load_drafter
from .course import Course, CurvePoint
from .folder import check_output, new_card, write_adapter
from .reader import SeedFile, read_labels, read_seeds
from .trainer import Recipe, Step, Trainer

Budget = Literal["quick", "normal", "thorough"]

_BUDGETS: dict[str, tuple[int, int]] = {"quick": (8, 80), "normal": (16, 240), "thorough": (32, 800)}
"""Rank and steps."""


@dataclass(frozen=True, slots=True)
class FitConfig:
    """What `fit` is told. `None` leaves a knob to the budget."""

    seeds: Path
    out: Path = Path("nerx-adapter")
    base: str = "embedded"
    dev: Path | None = None
    labels: Path | None = None
    seed: int = 0
    device: str = "auto"
    budget: Budget = "normal"
    rank: int | None = None
    epochs: int | None = None
    learning_rate: float | None = None
    contrast: float | None = None
    min_score: float | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.budget not in _BUDGETS:
            raise InputError(f"budget {self.budget!r}: choose one of {', '.join(_BUDGETS)}")
        for name in ("rank", "epochs", "learning_rate"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise InputError(f"{name.replace('_', '-')} {value}: must be above 0")
        if self.contrast is not None and self.contrast < 0:
            raise InputError(f"contrast {self.contrast}: must not be negative")
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise InputError(f"min-score {self.min_score}: a probability is from 0 to 1")

    def recipe(self) -> Recipe:
        """The budget's recipe with the single knobs put in."""
        rank, steps = _BUDGETS[self.budget]
        chosen = Recipe(rank=self.rank or rank, steps=steps, epochs=self.epochs)
        if self.learning_rate is not None:
            chosen = replace(chosen, learning_rate=self.learning_rate)
        if self.contrast is not None:
            chosen = replace(chosen, weights=replace(chosen.weights, contrast=self.contrast))
        if self.min_score is not None:
            chosen = replace(chosen, min_score=float(self.min_score))
        return chosen


@dataclass(frozen=True, slots=True)
class FitEvent:
    """Progress. `stage` is read, load, fetch, convert, wait, rehearse, train or save; losses are running means.

    While a base is fetched, `step` of `steps` counts megabytes.
    """

    stage: str
    step: int = 0
    steps: int = 0
    loss: float | None = None
    contrast: float | None = None
    draft: float | None = None
    dev_f1: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class FitResult:
    """What `fit` made. `evaluation` is of held-out texts, None where the seeds were too few to hold any out."""

    adapter: Path
    labels: LabelSet
    evaluation: Evaluation | None
    alpha: float
    seconds: float
    curve: tuple[CurvePoint, ...]
    warnings: tuple[str, ...]


Progress = Callable[[FitEvent], None]


def fit(config: FitConfig, progress: Progress | None = None) -> FitResult:
    """Train an adapter and write its folder, complete or not at all.

    Raises SeedError with every bad line, AdapterError for the base, OutputError where the folder is in the way.
    """
    tell = progress or _ignore
    began = time.monotonic()
    check_output(config.out, overwrite=config.overwrite)
    tell(FitEvent("read"))
    definitions = read_labels(config.labels) if config.labels else ()
    seeds = read_seeds(config.seeds, definitions=definitions)
    dev = _read_dev(config.dev, seeds) if config.dev else ()
    tell(FitEvent("load", note=config.base))
    model = load_base(config.base, device=config.device, tell=lambda event: tell(_on_its_way(event)))
    drafter = load_drafter(base_folder(config.base), model.width)
    trainer = Trainer(model, drafter, seeds.labels, config.recipe(), config.seed)
    course = Course(trainer, seeds.seeds, config.seed, lambda stage, step, f1: tell(_event(stage, step, f1)))
    learned = course.against(dev) if dev else course.rehearsed()
    extractor = course.extractor(learned.fusion)
    tell(FitEvent("save", note=str(config.out)))
    card = new_card(extractor.card, trainer, seeds, config, learned, seconds=time.monotonic() - began)
    write_adapter(config.out, trainer, card, extractor, seeds.seeds)
    return FitResult(
        config.out, seeds.labels, learned.evaluation, learned.fusion.alpha, card.seconds, learned.curve, seeds.warnings
    )


def _read_dev(path: Path, seeds: SeedFile) -> tuple[Seed, ...]:
    dev = read_seeds(path, training=False)
    if unknown := sorted(set(dev.labels.names) - set(seeds.labels.names)):
        raise SeedError([f"{path}: labels that the seeds do not have: {', '.join(unknown)}; add seeds or rename them"])
    return dev.seeds


def _on_its_way(event: BaseEvent) -> FitEvent:
    return FitEvent(event.stage, event.done // 1_000_000, event.total // 1_000_000, note=event.base)


def _event(stage: str, step: Step, dev_f1: float | None) -> FitEvent:
    return FitEvent(stage, step.step, step.steps, step.legal, step.contrast, step.draft, dev_f1)


def _ignore(_event: FitEvent) -> None:
    """Nobody watches."""
