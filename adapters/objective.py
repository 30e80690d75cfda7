"""The training objective: legal-token, draft and contrastive losses of one batch, from one forward pass.

Both `fit` and the recipe of the embedded base use it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..engine.tagging.drafter import Drafter, windows
from ..engine.tagging.model import LanguageModel
from .batch import Batch
from .hyperparameters import LossWeights
from .loss import contrastive_loss, draft_loss, legal_token_loss


@dataclass(frozen=True, slots=True)
class Losses:
    """Scalar tensors. Training differentiates `total`; the others are for the progress report."""

    total: Tensor
    legal: Tensor
    draft: Tensor
    contrast: Tensor


class Projection(nn.Module):
    """Maps mentions and label names into the space of the contrastive loss. Training throws it away at the end.

    A mention is given by the windows of its first and of its last token.
    """

    def __init__(self, width: int, window: int, out: int = 128) -> None:
        super().__init__()
        self.first = nn.Linear(window * width, out)
        self.last = nn.Linear(window * width, out)
        self.anchor = nn.Linear(width, out)

    def forward(self, text: Tensor, row: Tensor, first: Tensor, last: Tensor) -> Tensor:
        """(n, out) for spans given by row and inclusive token indices into text (batch, text, window * width)."""
        projected: Tensor = self.first(text[row, first]) + self.last(text[row, last])
        return projected


def losses(
    model: LanguageModel, drafter: Drafter, projection: Projection, batch: Batch, weights: LossWeights
) -> Losses:
    """One forward pass over prompt and answer, then the three losses. A loss of weight 0 is not computed."""
    states, text, labels, known = read(model, batch)
    zero = states.new_zeros(())
    counts = [len(group.right) for group in batch.decisions]
    legal = zero
    for group, count in zip(batch.decisions, counts, strict=True):
        logits = model.score(states[group.row, group.slot], group.candidates)
        legal = legal + legal_token_loss(logits, group.right) * (count / sum(counts))
    draft = zero
    if weights.draft:
        draft = draft_loss(drafter(text, batch.lengths, labels[batch.head_of], known), batch.targets)
    contrast = zero
    if weights.contrast:
        contrast = _contrast(projection, windows(text, batch.lengths), labels, batch, weights.temperature)
    total = legal + weights.draft * draft + weights.contrast * contrast
    if weights.plain:
        answers = batch.answers
        logits = model.logits(states[answers.row, answers.slot]).float()
        total = total + weights.plain * nn.functional.cross_entropy(logits, answers.token)
    return Losses(total, legal.detach(), draft.detach(), contrast.detach())


def _contrast(projection: Projection, text: Tensor, labels: Tensor, batch: Batch, temperature: float) -> Tensor:
    stretches, anchors = batch.stretches, batch.anchors
    vectors = projection(text, stretches.row, stretches.first, stretches.last)
    is_mention = stretches.label >= 0
    names = projection.anchor(labels[anchors.head, anchors.place])
    return contrastive_loss(
        vectors[is_mention], stretches.label[is_mention], names, anchors.label, vectors[~is_mention], temperature
    )


def read(model: LanguageModel, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Read a batch in one forward pass. Returns three tensors of states, and which labels each row knows.

    The states are those of all slots (batch, row, width), of the texts (batch, text + 1, width) and of the label names
    in each head (heads, labels, width). The last tensor is boolean (batch, labels).
    """
    heads, states = model.states_behind(batch.heads, batch.tokens, batch.head_of)
    return states, _gather(states, batch.text), _gather(heads, batch.label_ends), batch.known[batch.head_of]


def _gather(states: Tensor, slots: Tensor) -> Tensor:
    """(batch, n, width) states at `slots` (batch, n)."""
    return torch.gather(states, 1, slots[:, :, None].expand(-1, -1, states.shape[2]))
