"""What `prime` is told: one frozen, checked record. Loads no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...engine.errors import InputError
from ..hyperparameters import TrainingPrecision

RANK = 64
LORA_RATE, WEIGHTS_RATE = 8e-4, 1.5e-4
"""Peak learning rates of AdamW: with LoRA, and for all weights."""


@dataclass(frozen=True, slots=True)
class PrimeConfig:
    """What `prime` is told."""

    base: str
    """Name, folder, GGUF file or hub id of the language model."""
    data: tuple[Path, ...]
    """Folders of annotated sets: each is a set or holds sets."""
    out: Path
    """The base folder to make."""
    tokens: int = 1_000_000
    """Tokens to train on, padding left out."""
    rank: int | None = None
    """Rank of LoRA; None is RANK. Not with `all_weights`."""
    all_weights: bool = False
    """Train the weights themselves, but for embeddings and output head."""
    layers: int | None = None
    """Keep this many layers from the embeddings on; None keeps all."""
    batch: int = 900
    """Tokens in a step, padding left out."""
    rate: float | None = None
    """Peak learning rate; None is LORA_RATE or WEIGHTS_RATE."""
    share: int = 4
    """The most texts under the same labels: the model reads their labels once."""
    held_out: tuple[Path, ...] = ()
    """Folders of sets whose texts must not be trained on."""
    labels: Path | None = None
    """File with synonyms and descriptions of labels."""
    set_weights: Mapping[str, float] = field(default_factory=dict)
    """A set's name -> how many times as often as by its size it is drawn."""
    precision: TrainingPrecision = "auto"
    """Of the arithmetic. `auto` is bfloat16 where the device has instructions for it."""
    checkpointing: bool = False
    """Compute the layers' states again in the backward pass: less memory, a third more time."""
    every: float = 240.0
    """Seconds between two checkpoints."""
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    """CPU threads; None leaves it to PyTorch."""

    def __post_init__(self) -> None:
        if not self.data:
            raise InputError("no annotated sets: give a folder with --data")
        for name in ("tokens", "rank", "layers", "batch", "rate", "share", "threads"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise InputError(f"--{name} {value}: must be above 0")
        if self.every < 0:
            raise InputError(f"--every {self.every}: must not be negative")
        if self.all_weights and self.rank is not None:
            raise InputError("--rank is for LoRA: leave it away with --all-weights")
        for name, factor in self.set_weights.items():
            if factor < 0:
                raise InputError(f"--weight {name}={factor}: must not be negative")

    @property
    def lora_rank(self) -> int | None:
        """Rank of the LoRA layers; None where all weights learn."""
        return None if self.all_weights else self.rank or RANK

    @property
    def learning_rate(self) -> float:
        """Peak learning rate of the network."""
        return self.rate or (WEIGHTS_RATE if self.all_weights else LORA_RATE)

    @property
    def drafter_rate(self) -> float:
        """Peak learning rate of drafter and projection, which begin with random weights."""
        return self.learning_rate * (2.0 if self.all_weights else 0.75)
