"""Batches: which texts go through the model together, and rows of different lengths as one tensor."""

from collections.abc import Sequence

import torch
from torch import Tensor


def buckets(lengths: Sequence[int], budget: int, most: int = 256) -> list[list[int]]:
    """Group indices so that `longest * members` stays within `budget` tokens. The longest groups come first.

    So a batch that is too large for the memory fails at the start of a run and not in its last hour. A length above the
    budget is a group of its own.
    """
    groups: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if not groups or longest * (len(groups[-1]) + 1) > budget or len(groups[-1]) == most:
            groups.append([])
            longest = lengths[index]
        groups[-1].append(index)
    return groups


def pad(rows: Sequence[Sequence[float]], fill: float, device: torch.device | None = None) -> Tensor:
    """(rows, longest) with `fill` behind the shorter rows. An integer `fill` makes integers, a float makes floats."""
    width = max(map(len, rows))
    dtype = torch.long if isinstance(fill, int) else torch.float32
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows], dtype=dtype, device=device)
