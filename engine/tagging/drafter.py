"""The drafter: a light head that reads the prompt's states, drafts the whole tagged output and gives evidence.

A causal state has not seen what follows it, so the head reads a small window of text states through one bidirectional
layer and compares the result with the states of the label names: for each text token outside, begin or inside of each
label. From these probabilities come (1) the draft, which is what the evidence alone would decide, and (2) the
log-odds that the decoder adds to its logits at every open, close and label decision (design: late fusion of two
readers that err differently). Knows nothing of tokens or markers beyond the guide's states.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from .guide import Phase, State, TokenSpan

WINDOW = 3
"""States that the drafter reads for each token: its own and the two that follow, up to the output mark's."""

_FLOOR = 1e-6


class Drafter(nn.Module):
    """Label-conditioned outside/begin/inside scores for every text token.

    width: of the base's states. hidden: of this head, capped so that a large base does not get a large head.
    """

    def __init__(self, width: int, hidden: int = 384, heads: int = 6, label_width: int = 128) -> None:
        super().__init__()
        hidden = min(hidden, width - width % heads)
        self.heads = heads
        self.window = nn.Linear(WINDOW * width, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.mixer_in = nn.Linear(hidden, 3 * hidden)
        self.mixer_out = nn.Linear(hidden, hidden)
        self.wide_norm = nn.LayerNorm(hidden)
        self.wide = nn.Linear(hidden, 2 * hidden)
        self.narrow = nn.Linear(2 * hidden, hidden)
        self.begin = nn.Linear(hidden, label_width)
        self.inside = nn.Linear(hidden, label_width)
        self.label = nn.Linear(width, label_width)
        self.outside = nn.Linear(hidden, 1)
        self.scale = label_width**-0.5

    def forward(self, states: Tensor, lengths: Tensor, labels: Tensor, known: Tensor) -> Tensor:
        """Log-probabilities (batch, text, 1 + 2 labels): outside, begin of each label, inside of each label.

        states: (batch, text + 1, width) prompt states of the text tokens, row i's output mark at `lengths[i]`.
        labels: (batch, labels, width) states of the label names; known: (batch, labels) False for padding.
        """
        mixed = self._mix(F.gelu(self.window(windows(states, lengths))), lengths)
        names = self.label(labels).transpose(1, 2) * self.scale
        hidden_label = ~known[:, None, :]
        begin = (self.begin(mixed) @ names).masked_fill(hidden_label, float("-inf"))
        inside = (self.inside(mixed) @ names).masked_fill(hidden_label, float("-inf"))
        return torch.cat([self.outside(mixed), begin, inside], dim=2).float().log_softmax(dim=2)

    def _mix(self, x: Tensor, lengths: Tensor) -> Tensor:
        """One bidirectional pre-norm transformer layer over the text tokens."""
        batch, text, hidden = x.shape
        real = torch.arange(text, device=x.device)[None] < lengths[:, None].clamp(min=1)
        query, key, value = self.mixer_in(self.norm(x)).view(batch, text, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=real[:, None, None, :])
        x = x + self.mixer_out(seen.transpose(1, 2).reshape(batch, text, hidden))
        mixed: Tensor = x + self.narrow(F.gelu(self.wide(self.wide_norm(x))))
        return mixed


def windows(states: Tensor, lengths: Tensor) -> Tensor:
    """(batch, text, WINDOW * width): each text token's state and those that follow, up to the output mark's."""
    batch, slots, width = states.shape
    place = torch.arange(slots - 1, device=states.device)[None, :, None] + torch.arange(WINDOW, device=states.device)
    place = torch.minimum(place.expand(batch, -1, -1), lengths[:, None, None])
    return states.gather(1, place.reshape(batch, -1, 1).expand(-1, -1, width)).view(batch, slots - 1, WINDOW * width)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The drafter's output for one text, arranged for the decisions.

    `open_odds[i]`: log-odds that a mention begins at token i; `inside_odds[i]`: that an open mention goes on with it.
    `begin` (text, labels) and `inside_sum` (text + 1, labels, cumulative) are probabilities for the label decision.
    """

    open_odds: NDArray[np.float64]
    inside_odds: NDArray[np.float64]
    begin: NDArray[np.float64]
    inside_sum: NDArray[np.float64]

    @classmethod
    def of(cls, log_probabilities: NDArray[np.float32]) -> "Evidence":
        """From the drafter's output for one text, (text, 1 + 2 labels) without padding."""
        probabilities = np.exp(log_probabilities.astype(np.float64))
        labels = (probabilities.shape[1] - 1) // 2
        begin, inside = probabilities[:, 1 : 1 + labels], probabilities[:, 1 + labels :]
        cumulative = np.concatenate([np.zeros((1, labels)), np.cumsum(inside, axis=0)])
        return cls(_log_odds(begin.sum(axis=1)), _log_odds(inside.sum(axis=1)), begin, cumulative)

    def bias(self, state: State, allowed: Sequence[int]) -> list[float]:
        """What to add, before weighting, to the logits of the `allowed` tokens of a decision in `state`."""
        if state.phase is Phase.OUTSIDE:
            return [0.0, float(self.open_odds[state.copied])]
        if state.phase is Phase.INSIDE:
            return [float(self.inside_odds[state.copied]), 0.0]
        assert state.node is not None
        share = self._label_shares(state.start, state.copied)
        below = [float(share[state.node.children[token].labels].sum()) for token in allowed]
        return [float(np.log(max(part, _FLOOR))) for part in below]

    def draft(self, borders: Sequence[bool]) -> list[TokenSpan]:
        """The mentions that the evidence alone would decide on."""
        spans = []
        at, end = 0, len(self.open_odds)
        while at < end:
            start = at
            at += 1
            if not borders[start] or self.open_odds[start] <= 0:
                continue
            while at < end and not (borders[at] and self.inside_odds[at] <= 0):
                at += 1
            spans.append(TokenSpan(start, at, int(self._label_shares(start, at).argmax())))
        return spans

    def score(self, span: TokenSpan) -> float:
        """The score of a drafted span from the evidence alone: open x label x close."""
        start, end, label = span
        probability = float(_sigmoid(self.open_odds[start])) * float(self._label_shares(start, end)[label])
        return probability * (float(_sigmoid(-self.inside_odds[end])) if end < len(self.inside_odds) else 1.0)

    def _label_shares(self, start: int, end: int) -> NDArray[np.float64]:
        """(labels,) each label's share of the begin and inside probability over tokens [start, end)."""
        mass = self.begin[start] + self.inside_sum[end] - self.inside_sum[start + 1]
        share: NDArray[np.float64] = mass / max(float(mass.sum()), _FLOOR)
        return share


def _log_odds(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    p = probability.clip(_FLOOR, 1 - _FLOOR)
    odds: NDArray[np.float64] = np.log(p) - np.log1p(-p)
    return odds


def _sigmoid(odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-odds))
