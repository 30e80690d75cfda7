"""Llamas with random weights that speak the embedded base's tokens: for what cannot run, or cannot show, the base."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from nerx.engine.tagging.model import LanguageModel

SHAPES: dict[str, dict[str, int]] = {
    # The embedded base's own shape; its gated MLP is 1,024 wide so that a layer has as many weights as the base's.
    "base": {"layers": 6, "width": 384, "heads": 12, "kv_heads": 12, "head": 32, "mlp": 1024, "vocabulary": 30_522},
    # Those of Qwen3-0.6B and of Llama 2 7B.
    "0.6b": {"layers": 28, "width": 1024, "heads": 16, "kv_heads": 8, "head": 128, "mlp": 3072, "vocabulary": 151_936},
    "7b": {"layers": 32, "width": 4096, "heads": 32, "kv_heads": 32, "head": 128, "mlp": 11008, "vocabulary": 32_000},
    # To try the programs where the others do not fit.
    "tiny": {"layers": 2, "width": 64, "heads": 4, "kv_heads": 2, "head": 16, "mlp": 128, "vocabulary": 30_522},
}


def make_llama(
    shape: str, tokenizer: Any, device: torch.device, dtype: torch.dtype, *, positions: int = 1024
) -> LanguageModel:
    """A Llama of `shape` on `device`. Made there, so that a large one does not pass through the CPU's memory."""
    size = SHAPES[shape]
    config = LlamaConfig(
        vocab_size=size["vocabulary"],
        num_hidden_layers=size["layers"],
        hidden_size=size["width"],
        intermediate_size=size["mlp"],
        num_attention_heads=size["heads"],
        num_key_value_heads=size["kv_heads"],
        head_dim=size["head"],
        max_position_embeddings=positions,
        tie_word_embeddings=shape != "7b",
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    with torch.device(device):
        network = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    return LanguageModel(network.eval(), tokenizer, f"random Llama, {shape}")


def save_llama(model: LanguageModel, folder: Path) -> Path:
    """As an ordinary checkpoint folder with its tokenizer."""
    model.network.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


def matrix_weights(model: LanguageModel) -> int:
    """Weights that every token is multiplied with: those of the layers, without embeddings and output head."""
    return sum(weight.numel() for name, weight in model.network.named_parameters() if ".layer" in name)
