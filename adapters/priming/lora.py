"""LoRA layers for long training: the merged weight is used in both directions, and no layer keeps it.

PEFT's layer multiplies every token by both factors. Merging them first costs the same whatever the number of tokens,
which is less where a step has many tokens and the layer is small. :func:`export` gives PEFT's own format, so nothing
but the training knows these layers.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D


class LoraLinear(nn.Module):
    """A frozen linear layer, whose weight (out, in) learns a product `b` (out, rank) @ `a` (rank, in)."""

    def __init__(self, weight: Tensor, bias: Tensor | None, rank: int) -> None:
        super().__init__()
        out, inner = weight.shape
        self.weight = nn.Parameter(weight.detach(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        self.a = nn.Parameter(torch.empty(rank, inner, device=weight.device))
        self.b = nn.Parameter(torch.zeros(out, rank, device=weight.device))
        nn.init.kaiming_uniform_(self.a, a=5**0.5)  # as PEFT does

    def forward(self, x: Tensor) -> Tensor:
        """(..., out) for x (..., in)."""
        out, inner = self.weight.shape
        tokens = x.numel() // inner
        if out * inner > tokens * (out + inner):
            steps: Tensor = functional.linear(functional.linear(x, self.a), self.b)
            return functional.linear(x, self.weight, self.bias) + steps
        merged: Tensor = _Merged.apply(x, self.weight, self.a, self.b)  # type: ignore[no-untyped-call]
        return merged if self.bias is None else merged + self.bias


class _Merged(torch.autograd.Function):
    """x @ (weight + b @ a).T with gradients for x, a and b. The merged weight is computed again backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
        ctx.half = torch.is_autocast_enabled(x.device.type)
        if ctx.half:
            x = x.to(torch.get_autocast_dtype(x.device.type))
        ctx.save_for_backward(x, weight, a, b)
        return functional.linear(x, _merge(weight, a, b, x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, Tensor, Tensor]:
        x, weight, a, b = ctx.saved_tensors
        dy = gradients[0].to(x.dtype)
        dx = dy @ _merge(weight, a, b, x.dtype) if ctx.needs_input_grad[0] else None
        dy, x = dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1])
        low_a, low_b = a.to(x.dtype), b.to(x.dtype)
        da = (dy @ low_b).T @ x
        db = dy.T @ (x @ low_a.T)
        return dx, None, da.to(a.dtype), db.to(b.dtype)


def _merge(weight: Tensor, a: Tensor, b: Tensor, dtype: torch.dtype) -> Tensor:
    """The sum is taken in float32: in bfloat16 a small change of a weight would be lost."""
    with torch.autocast(weight.device.type, enabled=False):
        return torch.addmm(weight.to(a.dtype), b, a).to(dtype)


def put_in(trunk: nn.Module, rank: int) -> bool:
    """Freeze a network and replace every linear layer of its trunk. Returns whether they were of the kind Conv1D.

    Raises ValueError where there is none.
    """
    for weight in trunk.parameters():
        weight.requires_grad_(False)
    found = [
        (parent, name, child)
        for parent in list(trunk.modules())
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear | Conv1D)
    ]
    if not found:
        raise ValueError("no linear layer in it")
    for parent, name, child in found:
        matrix = child.weight.T if isinstance(child, Conv1D) else child.weight
        setattr(parent, name, LoraLinear(matrix, child.bias, rank))
    return isinstance(found[0][2], Conv1D)


def lora_layers(network: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    """The layers that :func:`put_in` put in, by their path in the network."""
    return ((name, layer) for name, layer in network.named_modules() if isinstance(layer, LoraLinear))


def export(network: nn.Module) -> dict[str, Tensor]:
    """The factors in bfloat16, under the names that PEFT gives them."""
    found = {}
    for name, layer in lora_layers(network):
        for letter, factor in (("A", layer.a), ("B", layer.b)):
            found[f"base_model.model.{name}.lora_{letter}.weight"] = factor.detach().bfloat16().cpu().contiguous()
    return found


def peft_config(network: nn.Module, base: str, *, is_conv: bool) -> dict[str, Any]:
    """PEFT's `adapter_config.json` for these factors: alpha is the rank, so that their scale is 1."""
    layers = list(lora_layers(network))
    rank = len(layers[0][1].a)
    return {
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": is_conv,
        "inference_mode": True,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": rank,
        "target_modules": sorted({name.rpartition(".")[2] for name, _ in layers}),
        "task_type": "CAUSAL_LM",
    }
