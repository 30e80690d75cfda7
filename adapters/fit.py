"""`fit`: seeds in, an adapter folder out. The function `fit` reads as a list of verbs; each is a module of its own.

Without `--dev`, training starts with a rehearsal: it holds some seeds out and trains on the others. The rehearsal sets
the number of epochs, the weight of the drafter's evidence and the scores on the card. Then the weights go back to the
start and learn from all seeds, because a few dozen texts are too few to leave any out. The adapter is the mean of both
runs.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..engine.bases.find import BaseEvent, Tell, base_folder, find_base
from ..engine.bases.size import stored_parameters
from ..engine.errors import SeedError
from ..engine.label import LabelSet
from ..engine.review.metrics import Evaluation
from ..engine.span import Seed
from ..engine.tagging.loading import load_base, load_drafter, pick_device
from ..engine.tagging.model import LanguageModel
from .config import FitConfig
from .folder import check_output, new_card, write_adapter
from .fusion import DEFAULT, UNEARNED
from .hyperparameters import LARGE
from .kernels import takes_bfloat16
from .reader import SeedFile, read_labels, read_seeds
from .trainer import Step, Trainer
from .training import CurvePoint, Training

UNPRIMED = (
    "base {base} has not been primed: it has never seen nerx's tag format, so it finds less and learns more slowly; "
    "`nerx base list` shows bases that are primed"
)


@dataclass(frozen=True, slots=True)
class FitEvent:
    """Progress. `stage` is read, load, fetch, convert, wait, unprimed, rehearse, train or save.

    Losses are running means. While a base is fetched, `step` of `steps` counts megabytes. `unprimed` comes once, for a
    base that has not been through the tag stage; its `note` is for the user.
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
    """What `fit` made. `evaluation` scores held-out texts; it is None where the seeds are too few to hold any out."""

    adapter: Path
    labels: LabelSet
    evaluation: Evaluation | None
    alpha: float
    seconds: float
    curve: tuple[CurvePoint, ...]
    warnings: tuple[str, ...]


Progress = Callable[[FitEvent], None]


def fit(config: FitConfig, progress: Progress | None = None) -> FitResult:
    """Train an adapter and write its folder. A fit that fails writes no folder.

    Raises SeedError with every bad line, AdapterError when the base cannot be used, and OutputError when the folder is
    in the way.
    """
    tell = progress or _ignore
    began = time.monotonic()
    check_output(config.out, overwrite=config.overwrite)
    tell(FitEvent("read"))
    definitions = read_labels(config.labels) if config.labels else ()
    seeds = read_seeds(config.seeds, definitions=definitions)
    dev = _read_dev(config.dev, seeds) if config.dev else ()
    tell(FitEvent("load", note=config.base))
    model = _load(config, lambda event: tell(_on_its_way(event)))
    drafter = load_drafter(base_folder(model.name), model.width)
    if drafter is None:
        tell(FitEvent("unprimed", note=UNPRIMED.format(base=config.base)))
    trainer = Trainer(model, drafter, seeds.labels, config.hyperparameters(model.size), config.seed)
    start = DEFAULT if drafter else UNEARNED
    training = Training(trainer, seeds.seeds, config.seed, lambda stage, step, f1: tell(_event(stage, step, f1)), start)
    learned = training.with_dev(dev) if dev else training.with_rehearsal()
    extractor = training.extractor(learned.fusion)
    tell(FitEvent("save", note=str(config.out)))
    card = new_card(extractor.card, trainer, seeds, config, learned, seconds=time.monotonic() - began)
    write_adapter(config.out, trainer, card, extractor, seeds.seeds)
    return FitResult(
        config.out, seeds.labels, learned.evaluation, learned.fusion.alpha, card.seconds, learned.curve, seeds.warnings
    )


def _load(config: FitConfig, tell: Tell) -> LanguageModel:
    """The base to train on. A large one has its weights, which stay as they are, in bfloat16 where that is fast."""
    is_large = stored_parameters(find_base(config.base, tell)) >= LARGE
    half = is_large and takes_bfloat16("auto", pick_device(config.device))
    return load_base(config.base, device=config.device, precision="bfloat16" if half else "auto", tell=tell)


def _read_dev(path: Path, seeds: SeedFile) -> tuple[Seed, ...]:
    dev = read_seeds(path, training=False)
    if unknown := sorted(set(dev.labels.names) - set(seeds.labels.names)):
        raise SeedError([f"{path}: labels that the seeds do not have: {', '.join(unknown)}; add seeds or rename them"])
    return dev.seeds


def _on_its_way(event: BaseEvent) -> FitEvent:
    return FitEvent(event.stage, round(event.done / 1e6), round(event.total / 1e6), note=event.base)


def _event(stage: str, step: Step, dev_f1: float | None) -> FitEvent:
    return FitEvent(stage, step.step, step.steps, step.legal, step.contrast, step.draft, dev_f1)


def _ignore(_event: FitEvent) -> None:
    """Drop the event: no caller asked for progress."""
