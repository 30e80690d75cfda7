"""Rows of different lengths end to end in one sequence, so that no layer computes padding. For training.

A prompt head and the rows that go on behind it are a block. Attention is computed block by block; every other layer
sees one sequence. In the tag stage, where many rows have a head of their own, padding added 0.6 times the real tokens.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ATTENTION = "nerx_blocks"
"""Name of :func:`attend` among transformers' attention functions."""

Blocks = tuple[tuple[int, int], ...]
"""First and last slot (half-open) of each block of a packed sequence; together they cover it."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Heads and rows as one sequence of n slots, block after block: a head, then the rows behind it.

    head_slots *Shape: (heads, new)* and row_slots *Shape: (batch, new)* say where each token of the padded batch went;
    for padding they say 0. order, member *Shape: (n,)*: a token's place in its row's sequence, and whose it is, 0 for
    the head's.
    """

    perm: Tensor
    order: Tensor
    member: Tensor
    block: Tensor
    blocks: Blocks
    head_slots: Tensor
    row_slots: Tensor

    def take(self, heads: Tensor, rows: Tensor) -> Tensor:
        """*Shape: (1, n)* from the padded values of heads *(heads, new)* and rows *(batch, new)*."""
        return torch.cat([heads.flatten(), rows.flatten()])[self.perm][None]

    def mask(self, window: int | None) -> Tensor:
        """Boolean mask *Shape: (1, 1, n, n)*: causal within a row and its head, within `window` tokens."""
        distance = self.order[:, None] - self.order[None, :]
        same = (self.member[None, :] == 0) | (self.member[:, None] == self.member[None, :])
        seen = (distance >= 0) & same & (self.block[:, None] == self.block[None, :])
        if window is not None:
            seen &= distance < window
        return seen[None, None]


def pack(head_order: Tensor, row_order: Tensor, head_of: Tensor) -> Packed:
    """How to pack heads and rows, from the order of their tokens.

    head_order *Shape: (heads, new)*, row_order *Shape: (batch, new)*: -1 for padding. head_of *Shape: (batch,)*.
    """
    heads, batch = len(head_order), len(row_order)
    block = torch.cat([
        torch.arange(heads, device=head_of.device).repeat_interleave(head_order.shape[1]),
        head_of.repeat_interleave(row_order.shape[1]),
    ])  # fmt: skip
    member = torch.cat([
        block.new_zeros(head_order.numel()),
        torch.arange(1, batch + 1, device=head_of.device).repeat_interleave(row_order.shape[1]),
    ])  # fmt: skip
    order = torch.cat([head_order.flatten(), row_order.flatten()])
    real = (order >= 0).nonzero()[:, 0]
    key = block[real] * (batch + 1) + member[real]
    perm = real[key.argsort(stable=True)]
    slots = torch.zeros_like(order)
    slots[perm] = torch.arange(len(perm), device=perm.device)
    ends = block[perm].bincount(minlength=heads).cumsum(0).tolist()
    blocks = tuple(zip([0, *ends[:-1]], ends, strict=True))
    border = head_order.numel()
    places = slots[:border].view_as(head_order), slots[border:].view_as(row_order)
    return Packed(perm, order[perm], member[perm], block[perm], blocks, *places)


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """PyTorch's attention, block by block where `blocks` are given. Returns *Shape: (batch, new, heads, width)*."""
    blocks: Blocks | None = options.pop("blocks", None)
    if blocks is None or attention_mask is None:
        whole: Tensor = sdpa_attention_forward(module, query, key, value, attention_mask, **options)[0]
        return whole, None
    parts = []
    for start, end in blocks:
        at = slice(start, end)
        block = query[:, :, at], key[:, :, at], value[:, :, at], attention_mask[:, :, at, at]
        if query.device.type == "cpu" and not options.get("dropout"):
            parts.append(by_products(*block, options.get("scaling")))
        else:
            parts.append(sdpa_attention_forward(module, *block, **options)[0])
    return torch.cat(parts, dim=1), None


def by_products(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None = None) -> Tensor:
    """Attention of one sequence as two matrix products, all query heads of a key's group in one of them.

    query *Shape: (1, heads, n, width)*; key, value *Shape: (1, groups, n, width)*; mask *Shape: (1, 1, n, n)*, boolean,
    with something to see for every query. Returns *Shape: (1, n, heads, width)*. On a CPU, forward and backward in
    bfloat16 take a quarter to a half of the time of PyTorch's fused and plain kernels at 150 to 400 slots, and in
    float32 about the same.
    """
    _, heads, slots, width = query.shape
    groups = key.shape[1]
    scaled = (query * (width**-0.5 if scaling is None else scaling)).to(value.dtype).reshape(groups, -1, width)
    key = key.to(value.dtype)  # positions are put into query and key in float32
    unseen = torch.zeros_like(mask[0, 0], dtype=value.dtype).masked_fill(~mask[0, 0], float("-inf"))
    with torch.autocast(query.device.type, enabled=False):
        scores = (scaled @ key[0].transpose(1, 2)).view(groups, -1, slots, slots) + unseen
        mixed = scores.softmax(-1).view(groups, -1, slots) @ value[0]
    return mixed.view(heads, slots, width).transpose(0, 1)[None]


AttentionInterface.register(ATTENTION, attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)  # for calls that give no mask of their own
