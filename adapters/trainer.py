"""Trains one adapter: LoRA in the base and the drafter beside it, both from the same batches.

Training never changes the base's own weights, vocabulary, embeddings and output head.
"""

import contextlib
import json
import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from ..engine.errors import InputError
from ..engine.label import LabelSet
from ..engine.span import Seed, Span
from ..engine.tagging.drafter import WINDOW, Drafter
from ..engine.tagging.extractor import chunk_limit
from ..engine.tagging.loading import write_lora_settings
from ..engine.tagging.model import LanguageModel
from ..engine.tagging.prompt import SourceTokens
from .augment import mentions_of, swap_mentions
from .batch import collate
from .dataset import Example, batches, choose_labels, encode
from .fusion import Judged, judge
from .hyperparameters import Hyperparameters
from .kernels import kernels, takes_bfloat16
from .objective import Losses, Projection, losses

FEWEST_EPOCHS = 4

WARM_UP, LEAST_RATE = 0.1, 0.03
"""Share of the steps that warm up; the least share of the peak learning rate that decay leaves."""

_CALMER = "use a smaller --learning-rate, or check that the weights of the base are sound; no adapter was written"

State = list[Tensor]
"""A copy of every weight that training changes."""


@dataclass(frozen=True, slots=True)
class Step:
    """Progress within a training run: epochs and steps done, and the running means of the losses."""

    epoch: float
    step: int
    steps: int
    legal: float
    draft: float
    contrast: float


class Trainer:
    """Owns the trainable weights of one fit. `model` is changed in place: LoRA layers are put into its network."""

    def __init__(
        self, model: LanguageModel, drafter: Drafter | None, labels: LabelSet, chosen: Hyperparameters, seed: int
    ) -> None:
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(seed)
        self.hyperparameters, self.labels, self.seed = chosen, labels, seed
        config = LoraConfig(
            r=chosen.rank,
            lora_alpha=2 * chosen.rank,
            target_modules=learning_modules(model.network, chosen.upper),
            task_type="CAUSAL_LM",
        )
        self.network: Any = get_peft_model(model.network, config)
        self.model = LanguageModel(self.network, model.tokenizer, model.name, model.digest)
        self.drafter = (drafter or Drafter(model.width)).to(model.device)
        self._projection = Projection(model.width, WINDOW).to(model.device)
        self._half = takes_bfloat16("auto", model.device)
        self.network.eval()  # no dropout: its random numbers take a fifth of a step, and shuffled labels regularise
        head = len(model.encoder.encode_head(labels).ids)
        self.text_limit = chunk_limit(model, head, 0)
        self._ids = {name: index for index, name in enumerate(labels.names)}
        self._start = self.state()
        self.tokens_read = 0

    @property
    def flops(self) -> float:
        """FLOPs so far: for each weight and token 2 forward, and 2 backward through the layers that learn.

        LoRA adds little.
        """
        return 2.0 * (1 + self.hyperparameters.upper) * self.model.size * self.tokens_read

    def save(self, folder: Path) -> None:
        """Write PEFT's files and `drafter.safetensors`. Raises InputError for weights that are no finite numbers."""
        if not all(bool(weight.isfinite().all()) for weight in self._weights()):
            raise InputError(f"training went wrong: weights are no finite numbers; {_CALMER}")
        self.network.save_pretrained(folder)
        config = folder / "adapter_config.json"
        write_lora_settings(config, json.loads(config.read_text(encoding="utf-8")))
        (folder / "README.md").unlink(missing_ok=True)
        save_file(
            {name: weight.contiguous() for name, weight in self.drafter.state_dict().items()},
            folder / "drafter.safetensors",
        )

    def state(self) -> State:
        """A copy of the weights as they are now."""
        return [weight.detach().clone() for weight in self._weights()]

    def restore(self, state: State | None = None) -> None:
        """Go back to an earlier `state`, or to the start."""
        with torch.no_grad():
            for weight, saved in zip(self._weights(), state or self._start, strict=True):
                weight.copy_(saved)

    def run(self, seeds: Sequence[Seed], epochs: int) -> Iterator[Step]:
        """Train, and yield after every step. The weights stay those of that step until the caller asks for the next.

        Raises InputError when a loss is no finite number.
        """
        mentions = mentions_of(seeds)
        rng = random.Random(f"{self.seed}/{len(seeds)}")
        torch.manual_seed(self.seed)
        lora, head = list(filter(_trains, self.network.parameters())), list(self.drafter.parameters())
        optimizer = torch.optim.AdamW(
            [
                {"params": lora, "lr": self.hyperparameters.learning_rate},
                {"params": [*head, *self._projection.parameters()], "lr": self.hyperparameters.drafter_rate},
            ],
            weight_decay=0.01,
        )
        rates = [group["lr"] for group in optimizer.param_groups]
        step, means = 0, list[float]()
        for number in range(epochs):
            epoch = list(self._epoch(seeds, mentions, rng))
            for place, group in enumerate(epoch):
                steps = step - place + len(epoch) * (epochs - number)
                share = share_of_peak(step, steps)
                for parameters, rate in zip(optimizer.param_groups, rates, strict=True):
                    parameters["lr"] = rate * share
                loss = self._step(optimizer, group, rng)
                step += 1
                values = [float(loss.legal), float(loss.draft), float(loss.contrast)]
                if not all(map(math.isfinite, [*values, float(loss.total.detach())])):
                    raise InputError(f"training went wrong: the loss is {values} at step {step} of {steps}; {_CALMER}")
                means = [m + (v - m) * max(0.1, 1 / step) for m, v in zip(means or values, values, strict=True)]
                yield Step(number + (place + 1) / len(epoch), step, steps, *means)

    def _step(self, optimizer: torch.optim.Optimizer, group: Sequence[Example], rng: random.Random) -> Losses:
        batch = collate(self.model.encoder, group, rng).to(self.model.device)
        with kernels(self.model.device, half=self._half):
            loss = losses(self.model, self.drafter, self._projection, batch, self.hyperparameters.weights)
            torch.autograd.backward(loss.total)
        torch.nn.utils.clip_grad_norm_(self._weights(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        self.tokens_read += batch.size
        return loss

    def epochs(self, seeds: Sequence[Seed]) -> int:
        """Passes over `seeds` that the hyperparameters ask for."""
        if self.hyperparameters.epochs is not None:
            return self.hyperparameters.epochs
        head = len(self.model.encoder.encode_head(self.labels).ids)
        tokens = sum(head + 2 * len(source) for seed in seeds for source, _ in self.rows(seed))
        wanted = round(self.hyperparameters.steps * self.hyperparameters.batch_tokens / max(1, tokens))
        return max(FEWEST_EPOCHS, min(self.hyperparameters.most_epochs, wanted))

    def judge(self, seeds: Sequence[Seed]) -> list[Judged]:
        """Ask both readers about every decision of held-out seeds, with all labels in the prompt."""
        rng = random.Random(0)
        examples = [
            encode(self.model.encoder, *row, self.labels, self._ids) for seed in seeds for row in self.rows(seed)
        ]
        judged: list[Judged] = []
        for group in batches(examples, 8 * self.hyperparameters.batch_tokens, rng):
            batch = collate(self.model.encoder, group, rng).to(self.model.device)
            with self.reading():
                judged += judge(self.model, self.drafter, batch, group)
        return judged

    def reading(self) -> contextlib.AbstractContextManager[None]:
        """The arithmetic of reading without learning: that of the weights, with a drafter that stays in float32."""
        return kernels(self.model.device, half=self.model.dtype == torch.bfloat16)

    def rows(self, seed: Seed) -> list[tuple[SourceTokens, tuple[Span, ...]]]:
        """The chunks that decoding makes of a seed's text, each with the mentions that lie in it whole."""
        rows = []
        for _, part in self.model.encoder.encode_chunks(seed.text, self.text_limit):
            if len(part):
                low, high = part.offsets[0][0], part.offsets[-1][1]
                rows.append((part, tuple(span for span in seed.spans if low <= span.start and span.end <= high)))
        return rows

    def _epoch(
        self, seeds: Sequence[Seed], mentions: dict[str, tuple[str, ...]], rng: random.Random
    ) -> Iterator[list[Example]]:
        rows = []
        for seed in seeds:
            if rng.random() < self.hyperparameters.swap:
                seed = Seed(*swap_mentions(seed.text, seed.spans, mentions, rng))
            rows += self.rows(seed)
        head = len(self.model.encoder.encode_head(self.labels).ids)
        for group in batches(
            rows, self.hyperparameters.batch_tokens, rng, lambda row: head + 2 * len(row[0]) + 4 * len(row[1])
        ):
            labels = self.labels
            if rng.random() >= self.hyperparameters.full:
                found = [span for _, spans in group for span in spans]
                labels, _ = choose_labels(labels, found, rng, drop=self.hyperparameters.drop)
            yield [encode(self.model.encoder, source, spans, labels, self._ids) for source, spans in group]

    def _weights(self) -> list[Tensor]:
        parts = (self.network, self.drafter, self._projection)
        return [weight for part in parts for weight in part.parameters() if weight.requires_grad]


def share_of_peak(step: int, steps: int) -> float:
    """The learning rate of a step, counted from 0, as a share of its peak: a linear warm-up, then a linear decay.

    The warm-up takes the first tenth of the steps. The decay runs over all steps and ends at LEAST_RATE.
    """
    warm_up = min(1.0, (step + 1) / max(1.0, WARM_UP * steps))
    return warm_up * max(LEAST_RATE, 1 - step / steps)


def learning_modules(network: Any, upper: float) -> str | list[str]:
    """What PEFT's `target_modules` takes for the linear layers of the upper share `upper` of the layers.

    `all-linear` where that is all, and where the layers have no numbers in their names.
    """
    if upper >= 1:
        return "all-linear"
    count: int = network.config.get_text_config().num_hidden_layers
    first = count - max(1, round(upper * count))
    found = []
    for name, module in network.named_modules():
        place = re.search(r"\.(\d+)\.", name)
        if isinstance(module, nn.Linear | Conv1D) and place and int(place[1]) >= first:
            found.append(name)
    return found or "all-linear"


def _trains(weight: Tensor) -> bool:
    return weight.requires_grad
