"""Scores a few entries of a causal LM's vocabulary. Knows no family of models by name."""

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import AdapterError


class OutputHead:
    """Scores a few vocabulary entries without computing all of them.

    With a vocabulary of 30,000 and a width of 384 the full head costs as much as all layers together. Families treat
    its inputs and outputs differently (BERT transforms, Gemma caps, Cohere scales). So the short way is checked once
    against the network's own logits, and where they differ the full head is used.
    Raises AdapterError for a network whose logits are no finite numbers.
    """

    def __init__(self, network: Any) -> None:
        bare = network.get_base_model() if hasattr(network, "get_base_model") else network
        config = bare.config.get_text_config()
        self._network = bare
        self._scale = float(getattr(config, "logit_scale", None) or 1.0) / float(
            getattr(config, "logits_scaling", None) or 1.0
        )
        self._cap: float | None = getattr(config, "final_logit_softcapping", None)
        self._is_short = self._agrees()

    def __call__(self, states: Tensor, candidates: Tensor) -> Tensor:
        return self._short(states, candidates) if self._is_short else self.full(states).gather(1, candidates)

    def _short(self, states: Tensor, candidates: Tensor) -> Tensor:
        output: nn.Linear = self._network.get_output_embeddings()
        logits = torch.einsum("nw,ncw->nc", self._transform(states), output.weight[candidates])
        if output.bias is not None:
            logits = logits + output.bias[candidates]
        logits = logits * self._scale
        return self._cap * torch.tanh(logits / self._cap) if self._cap else logits

    def _transform(self, states: Tensor) -> Tensor:
        predictions = getattr(getattr(self._network, "cls", None), "predictions", None)
        transformed: Tensor = predictions.transform(states) if predictions is not None else states
        return transformed

    def full(self, states: Tensor) -> Tensor:
        head = getattr(self._network, "cls", None) or self._network.get_output_embeddings()
        logits: Tensor = head(states)
        return logits

    @torch.no_grad()
    def _agrees(self) -> bool:
        ids = torch.arange(8, device=next(self._network.parameters()).device)[None] + 3
        was_training = self._network.training
        self._network.eval()
        full = self._network(input_ids=ids, use_cache=False).logits[0].float()
        if not bool(full.isfinite().all()):
            raise AdapterError("the base computes values that are no finite numbers: its weights are damaged")
        states = self._network.base_model(input_ids=ids, use_cache=False).last_hidden_state[0]
        self._network.train(was_training)
        short = self._short(states, ids.expand(8, 8)).float()
        return torch.allclose(short, full[:, ids[0]], rtol=1e-2, atol=1e-2 * float(full.abs().max()) + 1e-4)
