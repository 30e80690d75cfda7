"""What `fit` is told: one frozen, checked record. Loads no torch."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..engine.errors import InputError
from .hyperparameters import LARGE, Hyperparameters

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

    def hyperparameters(self, parameters: int = 0) -> Hyperparameters:
        """The budget's hyperparameters for a base of so many parameters, with the knobs that were set put in."""
        rank, steps = _BUDGETS[self.budget]
        chosen = Hyperparameters(rank=self.rank or rank, steps=steps, epochs=self.epochs)
        if parameters >= LARGE:
            chosen = chosen.for_large()
        if self.learning_rate is not None:
            chosen = replace(chosen, learning_rate=self.learning_rate)
        if self.contrast is not None:
            chosen = replace(chosen, weights=replace(chosen.weights, contrast=self.contrast))
        if self.min_score is not None:
            chosen = replace(chosen, min_score=float(self.min_score))
        return chosen
