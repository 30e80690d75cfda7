"""The numbers that training runs by. Loads no torch, so that options can be checked before torch is there."""

from dataclasses import dataclass, field, replace
from typing import Literal

MIN_SCORE = 0.3
"""Extraction drops spans below this probability. A span of probability p adds to F1 where p is above half of the F1
that is reached (Lipton et al. 2014, "Optimal Thresholding of Classifiers to Maximize F1 Measure"). That half is 0.4 to
0.8 here. The threshold gains one point of F1 at 5 shots (mean over the development texts of six sets)."""

TrainingPrecision = Literal["auto", "float32", "bfloat16"]

LARGE = 50_000_000
"""A base with so many parameters learns as `Hyperparameters.for_large` says, a smaller one as the embedded base."""

LARGE_EPOCHS = 20
"""The most epochs of a large base. Development texts, 5 shots, one draw, 10 against 20 epochs: sec_fin 59.1 and 67.6,
tasteset 71.7 and 79.4, wnut17 45.1 and 43.3."""


@dataclass(frozen=True, slots=True)
class LossWeights:
    """How much each loss counts in the objective. `plain` is ordinary cross-entropy over the whole vocabulary.

    `temperature` is that of the contrastive loss.
    """

    draft: float = 1.0
    contrast: float = 0.1
    plain: float = 0.0
    temperature: float = 0.1


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Everything about training that a user may change. Rates are AdamW's peak learning rates.

    The card stores these values under the key `recipe`.

    `steps`: with `epochs` None, the trainer runs as many epochs as give about this many steps, so that a fit takes
    minutes whatever the number of seeds.
    `most_epochs`: the most epochs that the trainer runs on its own account.
    `upper`: the share of the layers that learn, from the last one down. The others are read without a backward pass.
    `batch_tokens`: batches are small on purpose. Twice the steps with half the tokens cost the same and found more on
    development texts: 46.2 against 44.9 strict F1 at 5 shots (mean of four sets), and 66.9 against 63.2 at 20 shots
    (`mit_movie`).
    `full`: the share of batches that see every label in the order of production. The others see a shuffled, thinned
    choice. All texts of a batch see the same labels, so that the model reads the prompt's head once for all of them (a
    step takes 0.8 of the time).
    `drop`: the rate at which a thinned choice loses labels that occur in its texts.
    `swap`: the share of texts whose mentions are swapped for others of the same label.
    """

    rank: int = 16
    steps: int = 240
    epochs: int | None = None
    most_epochs: int = 30
    upper: float = 1.0
    learning_rate: float = 1e-3
    drafter_rate: float = 5e-4
    batch_tokens: int = 600
    full: float = 0.5
    drop: float = 0.1
    swap: float = 0.3
    min_score: float = MIN_SCORE
    weights: LossWeights = field(default_factory=LossWeights)

    def for_large(self) -> "Hyperparameters":
        """The same for a large base: half the steps, fewer epochs, and only the upper half of the layers learns.

        Measured on the primed SmolLM2-135M. The upper half alone takes 0.6 of the time and finds as much (5 shots, one
        draw, wnut17 45.1 against 44.4, crossner_science 59.9 against 59.8).
        """
        return replace(self, steps=self.steps // 2, most_epochs=LARGE_EPOCHS, upper=0.5)
