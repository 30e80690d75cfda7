"""What learns in the tag stage: the network (LoRA or all weights), the drafter, and the contrastive projection."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...engine.bases.convert import keep_layers
from ...engine.bases.find import BaseEvent, find_base
from ...engine.errors import AdapterError, InputError
from ...engine.tagging.drafter import WINDOW, Drafter
from ...engine.tagging.loading import load_base, load_drafter, pick_device, use_threads
from ...engine.tagging.model import LanguageModel, trunk
from ..kernels import takes_bfloat16
from ..objective import Projection
from .config import PrimeConfig
from .lora import put_in


class Pupil:
    """Owns the weights. `is_conv`: the LoRA layers stand for GPT-2's kind of linear layer. `half`: see kernels."""

    def __init__(self, config: PrimeConfig, tell: Callable[[BaseEvent], None]) -> None:
        use_threads(config.threads)
        torch.manual_seed(config.seed)
        place = find_base(config.base, tell)
        self.half = takes_bfloat16(config.precision, pick_device(config.device))
        frozen_in_half = self.half and not config.all_weights and stored_dtype(place) == torch.bfloat16
        loaded = load_base(
            config.base, device=config.device, precision="bfloat16" if frozen_in_half else "float32", tell=tell
        )
        network: Any = loaded.network
        cut(network, config)
        self.place, self.is_conv = place, False
        if config.lora_rank is None:
            for matrix in (network.get_input_embeddings(), network.get_output_embeddings()):
                matrix.requires_grad_(False)
        else:
            network.requires_grad_(False)
            try:
                self.is_conv = put_in(trunk(network), config.lora_rank)
            except ValueError as error:
                raise AdapterError(f"base {config.base} cannot take LoRA: {error}; say --all-weights") from error
        if config.checkpointing:
            network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self.model = LanguageModel(network, loaded.tokenizer, config.base, loaded.digest)
        drafter = load_drafter(place, self.model.width) or Drafter(self.model.width)
        projection = Projection(self.model.width, WINDOW)
        self.parts = nn.ModuleDict({"network": network, "drafter": drafter, "projection": projection})
        self.parts.to(self.model.device).train()

    @property
    def drafter(self) -> Drafter:
        drafter = self.parts["drafter"]
        assert isinstance(drafter, Drafter)
        return drafter

    @property
    def projection(self) -> Projection:
        projection = self.parts["projection"]
        assert isinstance(projection, Projection)
        return projection

    def learning(self) -> dict[str, nn.Parameter]:
        """The weights that learn, by name."""
        return {name: weight for name, weight in self.parts.named_parameters() if weight.requires_grad}

    def restore(self, weights: dict[str, Tensor]) -> None:
        """Put saved weights in, by name."""
        with torch.no_grad():
            for name, weight in self.learning().items():
                weight.copy_(weights[name])


def cut(network: Any, config: PrimeConfig) -> None:
    """Keep the layers that are asked for, in place. Raises InputError where the base has not so many."""
    if config.layers is None:
        return
    has: int = network.config.get_text_config().num_hidden_layers
    if config.layers > has:
        raise InputError(f"--layers {config.layers}: base {config.base} has {has}; give that many or fewer")
    if not hasattr(network.base_model, "layers"):
        raise InputError(f"--layers: base {config.base} (a {type(network).__name__}) cannot be cut; leave it away")
    keep_layers(network, config.layers)


def stored_dtype(place: Path) -> torch.dtype | None:
    """The type in which a base's weights are stored, if it says so. `load_base` says what is wrong with a base."""
    from transformers import AutoConfig

    try:
        dtype = AutoConfig.from_pretrained(str(place)).dtype
    except (OSError, ValueError, KeyError):
        return None
    return dtype if isinstance(dtype, torch.dtype) else None
