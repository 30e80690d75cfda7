"""The weights of a tuned network as their difference from the original ones, at 3 bits a weight, in a safetensors file.

Within a group of 64 weights such a difference is close to a Gaussian. So each group has a scale, and each weight one of
eight levels, at the places where they lose least for a Gaussian: 3.5 % of the energy (Max 1960, "Quantizing for Minimum
Distortion"). The low-rank part of a difference that takes the same room loses a third and more. That few bits are
enough was shown by Liu et al. 2024, "BitDelta". Decoding is elementwise, so it gives the same weights on every machine.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import AdapterError

GROUP = 64
"""Weights that share a scale."""

LEVELS = torch.tensor([-2.1520, -1.3439, -0.7560, -0.2451, 0.2451, 0.7560, 1.3439, 2.1520])
"""In units of the group's scale."""

_BITS = 3


def write_delta(original: Mapping[str, Tensor], tuned: Mapping[str, Tensor], path: Path) -> float:
    """Write how `tuned` differs from `original`, name by name; unchanged weights are left out.

    Weights whose number is no multiple of GROUP (norms, biases) are kept in half precision. Returns the share of the
    difference's energy that is lost.
    """
    parts: dict[str, Tensor] = {}
    lost, all_energy = 0.0, 0.0
    for name, weight in tuned.items():
        difference = weight.float() - original[name].float()
        if not difference.any():
            continue
        if difference.ndim < 2 or difference.numel() % GROUP:
            parts[f"{name}.half"] = difference.half()
            continue
        codes, scales = _encode(difference)
        parts[f"{name}.codes"], parts[f"{name}.scales"] = codes, scales
        lost += float((_decode(codes, scales, difference.shape) - difference).pow(2).sum())
        all_energy += float(difference.pow(2).sum())
    save_file(parts, path)
    return lost / max(all_energy, 1e-30)


def add_delta(network: Any, path: Path) -> None:
    """Add a written difference to the network's weights, in place.

    Raises AdapterError when the file names weights that the network does not have, or of another shape.
    """
    weights: dict[str, Tensor] = dict(network.named_parameters())
    parts = load_file(path)
    with torch.no_grad():
        for name in sorted({key.rpartition(".")[0] for key in parts}):
            if name not in weights:
                raise AdapterError(f"{path}: the network has no weight {name}: the file belongs to another base")
            weight = weights[name]
            half = parts.get(f"{name}.half")
            if half is not None and half.shape != weight.shape:
                raise AdapterError(f"{path}: {name} has another shape: the file belongs to another base")
            if half is None:
                codes, scales = parts[f"{name}.codes"], parts[f"{name}.scales"]
                if scales.numel() * GROUP != weight.numel():
                    raise AdapterError(f"{path}: {name} has another shape: the file belongs to another base")
                weight += _decode(codes, scales, weight.shape).to(weight.dtype)
            else:
                weight += half.to(weight.dtype)


def _encode(difference: Tensor) -> tuple[Tensor, Tensor]:
    """Bit planes *Shape: (3, weights / 8)* of uint8, and scales *Shape: (weights / GROUP,)* in half precision."""
    groups = difference.reshape(-1, GROUP)
    scale = groups.pow(2).mean(dim=1, keepdim=True).sqrt().clamp(min=1e-12)
    borders = (LEVELS[1:] + LEVELS[:-1]) / 2
    codes = torch.bucketize(groups / scale, borders)
    level = LEVELS[codes]
    scale = (groups * level).sum(dim=1) / level.pow(2).sum(dim=1)  # the best scale for these codes
    bits = codes.reshape(-1).numpy().astype(np.uint8)
    planes = [np.packbits((bits >> bit) & 1) for bit in range(_BITS)]
    return torch.from_numpy(np.stack(planes)), scale.half()


def _decode(codes: Tensor, scales: Tensor, shape: torch.Size) -> Tensor:
    bits = np.unpackbits(codes.numpy(), axis=1)
    whole = sum(bits[bit].astype(np.int64) << bit for bit in range(_BITS))
    levels = LEVELS[torch.from_numpy(np.asarray(whole))].reshape(-1, GROUP)
    return (levels * scales.float()[:, None]).reshape(shape)
