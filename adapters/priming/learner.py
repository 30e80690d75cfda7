"""The steps of the tag stage: draws a batch, computes the losses, changes the weights, and counts.

A step depends on its number, the seed and the weights alone. So a run that goes on from a checkpoint ends with the same
weights as one that nobody stopped.
"""

import random
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from ...engine.errors import InputError
from ..batch import collate
from ..hyperparameters import LossWeights
from ..kernels import kernels
from ..objective import Losses, losses
from .config import PrimeConfig
from .pupil import Pupil
from .sampler import Sampler
from .schedule import share_of_rate

WARM_UP, WARM_SHARE = 60, 0.1
"""The learning rate rises over this many steps, or over this share of the tokens if that is shorter."""

MEMORY = 0.98
"""How much of a running mean each step keeps."""


@dataclass(frozen=True, slots=True)
class Point:
    """How far a run is: steps, tokens and texts so far, seconds of training over all runs, running means of losses."""

    step: int = 0
    tokens: int = 0
    rows: int = 0
    seconds: float = 0.0
    legal: float = 0.0
    draft: float = 0.0
    contrast: float = 0.0


class Learner:
    """Owns the optimizer and the count. `point` says how far it is."""

    def __init__(self, pupil: Pupil, sampler: Sampler, config: PrimeConfig) -> None:
        self._pupil, self._sampler, self._config = pupil, sampler, config
        self._weights = LossWeights()
        network = [weight for weight in pupil.parts["network"].parameters() if weight.requires_grad]
        fresh = [*pupil.drafter.parameters(), *pupil.projection.parameters()]
        self._optimizer = torch.optim.AdamW(
            [{"params": network, "lr": config.learning_rate}, {"params": fresh, "lr": config.drafter_rate}],
            weight_decay=0.05 if config.all_weights else 0.01,
            betas=(0.9, 0.98),
            fused=pupil.model.device.type in ("cpu", "cuda"),
        )
        self._rates = [group["lr"] for group in self._optimizer.param_groups]
        self.point = Point()

    def step(self) -> None:
        """Learn from one batch. Raises InputError when the loss is no number: the learning rate is too high."""
        began = time.monotonic()
        config, point = self._config, self.point
        rng = random.Random(f"{config.seed}/{point.step}")
        torch.manual_seed(config.seed * 1_000_003 + point.step)
        drawn = self._sampler.draw_batch(config.batch, rng)
        batch = collate(self._pupil.model.encoder, drawn, rng)
        size = batch.size
        batch = batch.to(self._pupil.model.device)
        with kernels(self._pupil.model.device, half=self._pupil.half):
            loss = losses(self._pupil.model, self._pupil.drafter, self._pupil.projection, batch, self._weights)
            torch.autograd.backward(loss.total)
        self._descend(point.tokens / config.tokens, point.step)
        self.point = _after(point, loss, size, len(drawn), time.monotonic() - began)

    def state(self) -> dict[str, Any]:
        """All that a checkpoint needs."""
        weights = {name: weight.detach() for name, weight in self._pupil.learning().items()}
        return {"weights": weights, "optimizer": self._optimizer.state_dict(), "point": asdict(self.point)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self._pupil.restore(state["weights"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.point = Point(**state["point"])

    def _descend(self, done: float, step: int) -> None:
        share = share_of_rate(done, step, WARM_UP, WARM_SHARE)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * share
        nn.utils.clip_grad_norm_(self._pupil.learning().values(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad()


def _after(point: Point, loss: Losses, tokens: int, rows: int, seconds: float) -> Point:
    values = {name: float(getattr(loss, name)) for name in ("legal", "draft", "contrast")}
    if not all(value < float("inf") for value in values.values()):
        raise InputError(
            f"the loss is no number after {point.tokens:,} tokens: run the same command with a lower --rate"
        )
    kept = MEMORY if point.step else 0.0
    means = {name: kept * getattr(point, name) + (1 - kept) * value for name, value in values.items()}
    return Point(point.step + 1, point.tokens + tokens, point.rows + rows, point.seconds + seconds, **means)
