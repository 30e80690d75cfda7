"""The causal LM: loading, one forward pass with explicit masks, and the scores of legal tokens.

Works on any Hugging Face causal LM that takes position ids, without model-specific code. Attention masks are always
given explicitly, computed from the order of the tokens and not from cache slots: a rejected draft stays in its slot,
masked, and sliding windows (Mistral, Gemma 2 and 3) count real tokens. So drafting is exact for them too.
"""

import inspect
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import DynamicCache

from ..errors import AdapterError
from .allocator import keep_freed_memory
from .card import AdapterCard, base_digest, base_folder
from .drafter import Drafter
from .output_head import OutputHead
from .prompt import PromptEncoder
from .tags import TagFormat, tag_format

CASE_TYPES = 4
"""A base whose config says `nerx_case` reads the case of words as this many token types."""


Precision = Literal["auto", "float32", "bfloat16", "int8"]
"""Of the weights. `auto` is bfloat16 on a GPU, and on a CPU float32, the one in which exact decoding is exact to the
last bit whatever shares the batch. int8 is for CPUs: dynamic quantisation, activations scaled by batch."""

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
        if "position_ids" not in inspect.signature(_trunk(network).forward).parameters:
            raise AdapterError(f"base {name} takes no position ids (a {type(network).__name__}): use another base")

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self.network.parameters()).device
        return device

    def states(self, tokens: Tokens, cache: Any = None, order: Tensor | None = None) -> Tensor:
        """Last hidden states (batch, new, width) of the new tokens.

        `cache` is a transformers Cache that grows by the new slots; `order` (batch, slots) then gives the order of
        all its slots, the new ones last, with -1 for slots that nothing may see.
        """
        extra = {"token_type_ids": tokens.cases} if self.reads_case else {}
        output = _trunk(self.network)(
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

        head_of (batch,): the head of each row, read once however many rows share it. Differentiable.
        """
        cache: Any = DynamicCache()
        states = self.states(heads, cache)
        for layer in cache.layers:
            layer.keys, layer.values = layer.keys[head_of], layer.values[head_of]
        order = torch.cat([heads.order[head_of], tokens.order], dim=1)
        return states, self.states(tokens, cache, order)

    def score(self, states: Tensor, candidates: Tensor) -> Tensor:
        """Logits (n, choices) of `candidates` (n, choices), token ids or -1 for padding, after `states` (n, width)."""
        return self._head(states, candidates.clamp(min=0)).masked_fill(candidates < 0, float("-inf"))

    def logits(self, states: Tensor) -> Tensor:
        """Logits (n, vocabulary) after `states` (n, width)."""
        return self._head.full(states)

    def _mask(self, query: Tensor, key: Tensor) -> Any:
        masks = {kind: visible(query, key, window) for kind, window in self._windows.items()}
        return masks if len(masks) > 1 else next(iter(masks.values()))


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


def load_base(
    base: str | Path = "embedded",
    *,
    device: str = "auto",
    precision: Precision = "auto",
    trust_remote_code: bool = False,
) -> LanguageModel:
    """Load a base by folder or hub id; `embedded` is the one that ships. In int8 its weights come as float32.

    Raises AdapterError when there is no such causal LM, or none that nerx can drive.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = base_folder(base)
    target = pick_device(device)
    dtype = dtype_of(precision, target)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(place), trust_remote_code=trust_remote_code)
        network = AutoModelForCausalLM.from_pretrained(
            str(place),
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            attn_implementation="sdpa",
        )
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise AdapterError(f"cannot load base {base}: {reason}; give a folder or hub id of a causal LM") from error
    if not getattr(tokenizer, "is_fast", False):
        raise AdapterError(f"base {base} has no fast tokenizer, which exact offsets need: use another base")
    network.eval().to(target)
    prepare_process(target)
    digest = base_digest(place) if place.is_dir() else str(getattr(network.config, "_commit_hash", ""))
    return LanguageModel(network, tokenizer, str(base), digest)


def load_drafter(folder: Path, width: int) -> Drafter | None:
    """The drafter beside a checkpoint or an adapter, if there is one."""
    path = folder / "drafter.safetensors"
    if not path.is_file():
        return None
    drafter = Drafter(width)
    drafter.load_state_dict({name: weight.float() for name, weight in load_file(path).items()})
    return drafter.eval()


def load_adapted(
    card: AdapterCard, adapter: Path, *, base: str | None = None, device: str = "auto", precision: Precision = "auto"
) -> tuple[LanguageModel, Drafter | None]:
    """The card's base with the adapter merged into its weights, and the adapter's drafter."""
    from peft import PeftModel

    model = load_base(base or card.base, device=device, precision=precision)
    card.check_base(model.digest)
    _require_lora(adapter)
    try:
        adapted = PeftModel.from_pretrained(model.network, str(adapter))
        network = adapted.merge_and_unload()
        drafter = load_drafter(adapter, model.width)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise AdapterError(f"cannot load adapter {adapter}: {reason}; fit it again") from error
    if drafter is not None:
        drafter.to(model.device, dtype=next(network.parameters()).dtype)
    if precision == "int8":
        quantise(_trunk(network))  # not the output head, of which a few rows are read
        if drafter is not None:
            quantise(drafter)
    return LanguageModel(network.eval(), model.tokenizer, model.name, model.digest), drafter


def prepare_process(device: torch.device) -> None:
    """Settings of this process for batches whose shapes differ from one to the next.

    On Hopper and later PyTorch gives attention to cuDNN first, which builds a plan for every new shape: a second each
    in FunASR issue 3704. The other fused kernels take the same masks.
    """
    if device.type == "cpu":
        keep_freed_memory()
    elif device.type == "cuda":
        torch.backends.cuda.enable_cudnn_sdp(False)


def use_threads(count: int | None = None) -> int:
    """Have PyTorch work with `count` CPU threads, if given; returns how many it uses."""
    if count:
        torch.set_num_threads(count)
    return torch.get_num_threads()


def dtype_of(precision: Precision, device: torch.device) -> torch.dtype:
    """What weights are loaded as. Raises AdapterError for int8 anywhere but on a CPU."""
    if precision == "int8" and device.type != "cpu":
        raise AdapterError(f"--precision int8 is for CPUs, not for {device.type}: use bfloat16 there")
    if precision == "auto":
        precision = "float32" if device.type == "cpu" else "bfloat16"
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def quantise(module: nn.Module) -> None:
    """Make a module's linear layers int8, in place; their activations are quantised on the way, a scale a batch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch is moving this to another package
        torch.ao.quantization.quantize_dynamic(  # type: ignore[no-untyped-call]
            module, {nn.Linear}, dtype=torch.qint8, inplace=True
        )


def _require_lora(adapter: Path) -> None:
    """PEFT knows dozens of methods; what `fit` writes is one, and nothing else has to be safe to load."""
    try:
        kind = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8")).get("peft_type")
    except (OSError, ValueError, AttributeError) as error:
        raise AdapterError(f"{adapter / 'adapter_config.json'}: cannot be read ({error}); fit it again") from error
    if kind != "LORA":
        raise AdapterError(f"{adapter / 'adapter_config.json'}: peft_type is {kind!r}, not 'LORA'; fit it again")


def is_out_of_memory(error: Exception) -> bool:
    """Whether an allocation failed, on whatever device. Frees what the device's allocator holds back if so."""
    failed = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
    if failed and torch.cuda.is_available():
        torch.cuda.empty_cache()
    return failed


def pick_device(device: str) -> torch.device:
    """`auto` is CUDA, then Apple's MPS, then CPU. Raises AdapterError for a device that is not there."""
    if device != "auto":
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            raise AdapterError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _trunk(network: Any) -> Any:
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
