"""The causal LM: one forward pass with explicit masks, and the scores of legal tokens. `loading` makes one.

Works on any Hugging Face causal LM that takes position ids, without model-specific code. Attention masks are always
given explicitly, computed from the order of the tokens and not from cache slots: a rejected draft stays in its slot,
masked, and sliding windows (Mistral, Gemma 2 and 3) count real tokens. So drafting is exact for them too.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import AdapterError
from .output_head import OutputHead
from .packing import pack
from .prompt import PromptEncoder
from .tags import TagFormat, tag_format

DEFAULT_TEXT_LIMIT = 256
"""Source tokens a chunk may have where the base's config does not say `nerx_text_limit`."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A padded batch of new tokens.

    ids, positions, cases: (batch, new). order: (batch, new) each token's place in its row's sequence, -1 for padding.
    """

    ids: Tensor
    positions: Tensor
    cases: Tensor
    order: Tensor


class LanguageModel:
    """A loaded base, with or without its adapter merged in. Owns the network and its tokenizer."""

    def __init__(self, network: Any, tokenizer: Any, name: str, digest: str = "") -> None:
        self.network = network
        self.digest = digest
        self.tokenizer = tokenizer
        self.name = name
        config = network.config.get_text_config()
        self.width: int = config.hidden_size
        self.max_positions: int = getattr(config, "max_position_embeddings", 1 << 20)
        self.text_limit: int = getattr(config, "nerx_text_limit", DEFAULT_TEXT_LIMIT)
        self.reads_case: bool = getattr(config, "nerx_case", False)
        self.tags: TagFormat = tag_format(tokenizer, aligned=getattr(config, "nerx_aligned", False))
        self.encoder = PromptEncoder(tokenizer, self.tags)
        self._windows = _attention_windows(config)
        self._head = OutputHead(network)
        if "position_ids" not in inspect.signature(trunk(network).forward).parameters:
            raise AdapterError(f"base {name} takes no position ids (a {type(network).__name__}): use another base")

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self.network.parameters()).device
        return device

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(weight.numel() for weight in self.network.parameters())

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        dtype: torch.dtype = next(self.network.parameters()).dtype
        return dtype

    def states(self, tokens: Tokens, cache: Any = None, order: Tensor | None = None) -> Tensor:
        """Last hidden states (batch, new, width) of the new tokens.

        `cache` is a transformers Cache that grows by the new slots; `order` (batch, slots) then gives the order of
        all its slots, the new ones last, with -1 for slots that nothing may see.
        """
        extra = {"token_type_ids": tokens.cases} if self.reads_case else {}
        output = trunk(self.network)(
            input_ids=tokens.ids,
            position_ids=tokens.positions,
            attention_mask=self._mask(tokens.order, tokens.order if order is None else order),
            past_key_values=cache,
            use_cache=cache is not None,
            **extra,
        )
        states: Tensor = output.last_hidden_state
        return states

    def states_behind(self, heads: Tokens, tokens: Tokens, head_of: Tensor) -> tuple[Tensor, Tensor]:
        """States of prompt heads (heads, new, width) and of the rows (batch, new, width) that go on behind them.

        head_of (batch,): the head of each row, read once however many rows share it. Differentiable. Padding is not
        computed (see :mod:`.packing`); what stands there in the result means nothing.
        """
        packed = pack(heads.order, tokens.order, head_of)
        extra = {"token_type_ids": packed.take(heads.cases, tokens.cases)} if self.reads_case else {}
        masks = {kind: packed.mask(window) for kind, window in self._windows.items()}
        output = trunk(self.network)(
            input_ids=packed.take(heads.ids, tokens.ids),
            position_ids=packed.take(heads.positions, tokens.positions),
            attention_mask=_only(masks),
            use_cache=False,
            blocks=packed.blocks,
            **extra,
        )
        states: Tensor = output.last_hidden_state[0]
        return states[packed.head_slots], states[packed.row_slots]

    def score(self, states: Tensor, candidates: Tensor) -> Tensor:
        """Logits (n, choices) of `candidates` (n, choices), token ids or -1 for padding, after `states` (n, width)."""
        return self._head(states, candidates.clamp(min=0)).masked_fill(candidates < 0, float("-inf"))

    def logits(self, states: Tensor) -> Tensor:
        """Logits (n, vocabulary) after `states` (n, width)."""
        return self._head.full(states)

    def _mask(self, query: Tensor, key: Tensor) -> Any:
        return _only({kind: visible(query, key, window) for kind, window in self._windows.items()})


def visible(query: Tensor, key: Tensor, window: int | None) -> Tensor:
    """Boolean mask (batch, 1, new, slots): causal by `order`, within `window` tokens, never a slot of order -1.

    Padding queries see slot 0 of their row, since softmax over nothing is not a number.
    """
    distance = query[:, :, None] - key[:, None, :]
    mask = (distance >= 0) & (key >= 0)[:, None, :]
    if window is not None:
        mask &= distance < window
    mask[..., 0] |= query < 0
    return mask[:, None]


def _only(masks: dict[str, Tensor]) -> Any:
    """As transformers takes them: a mask for each kind of layer, or the one mask where all are of a kind."""
    return masks if len(masks) > 1 else next(iter(masks.values()))


def trunk(network: Any) -> Any:
    """The network without its output head, below PEFT's wrapping if there is any."""
    network = network.get_base_model() if hasattr(network, "get_base_model") else network
    return network.base_model


def _attention_windows(config: Any) -> dict[str, int | None]:
    """Kinds of attention layers and the tokens each may look back, as the config says."""
    window = getattr(config, "sliding_window", None)
    kinds: Sequence[str] | None = getattr(config, "layer_types", None)
    if kinds is None:
        return {"full_attention": window}
    unknown = set(kinds) - {"full_attention", "sliding_attention"}
    if unknown:
        raise AdapterError(f"base has layers of kind {', '.join(sorted(unknown))}, which nerx cannot mask: use another")
    return {kind: window if kind == "sliding_attention" else None for kind in sorted(set(kinds))}
