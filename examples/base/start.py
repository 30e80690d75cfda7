"""What a stage begins from: the warm-started encoder, a small Llama without any training, or an earlier stage's result.

Every stage takes `--start` and hands on an ordinary checkpoint folder, so that the stages can be put together freely.
"""

import json
from pathlib import Path
from typing import Any

from warm_start import encoder_folder, warm_start


def begin(
    start: str,
    *,
    aligned: bool = True,
    case: bool = True,
    tokenizer: Path | None = None,
    width: int = 384,
    layers: int = 10,
) -> tuple[Any, Path]:
    """(network, folder of its tokenizer) of `start`: `minilm`, `llama` (over `tokenizer`), or a checkpoint folder.

    `aligned` says how the answer's positions are counted (see nerx.engine.tagging.tags). Only MiniLM's uses `case`,
    only a new Llama uses `width` and `layers`.
    """
    from transformers import AutoModelForCausalLM

    if start == "minilm":
        return warm_start(aligned=aligned, case=case), encoder_folder()
    if start == "llama":
        if tokenizer is None:
            raise SystemExit("--start llama needs the --tokenizer that tokenizer.py made")
        network, folder = small_llama(tokenizer, width, layers), tokenizer
    else:
        folder = Path(start)
        network = AutoModelForCausalLM.from_pretrained(folder, dtype="float32", attn_implementation="sdpa")
    network.config.nerx_aligned = aligned
    return network, folder


def small_llama(tokenizer: Path, width: int, layers: int, context: int = 1024) -> Any:
    """An untrained Llama with tied embeddings; 384 wide, 10 layers and 16,000 entries are 24 M parameters.

    Depth before width: at this size more layers of the same total learn more (Liu et al. 2024, "MobileLLM").
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    entries = len(json.loads((tokenizer / "tokenizer.json").read_text())["model"]["vocab"])
    config = LlamaConfig(
        vocab_size=-(-entries // 64) * 64,
        hidden_size=width,
        intermediate_size=round(width * 8 / 3 / 64) * 64,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 64),
        num_key_value_heads=max(1, width // 64),
        max_position_embeddings=context,
        tie_word_embeddings=True,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)
