"""Arithmetic of training: bfloat16 where the device has instructions for it, and the attention kernels that suit it."""

import contextlib
from collections.abc import Iterator

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..engine.errors import InputError
from .hyperparameters import TrainingPrecision


def takes_bfloat16(precision: TrainingPrecision, device: torch.device) -> bool:
    """Whether to compute in bfloat16. Raises InputError where that is asked for and would only be slower."""
    has_it = _has_bfloat16(device)
    if precision == "bfloat16" and not has_it:
        raise InputError(f"--precision bfloat16: this {device.type} has no instructions for it; say auto or float32")
    return has_it and precision != "float32"


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())
    return False


@contextlib.contextmanager
def kernels(device: torch.device, *, half: bool) -> Iterator[None]:
    """While entered, PyTorch computes in mixed precision where `half` is set.

    On a CPU with bfloat16 instructions a step takes half the time. PyTorch's fused attention is slow backwards in
    bfloat16 there, and not used.
    """
    if not half:
        yield
    elif device.type == "cpu":
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            yield
    else:
        with torch.autocast(device.type, torch.bfloat16):
            yield
