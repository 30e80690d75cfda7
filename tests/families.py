"""Tiny, randomly initialised bases of several families, written as ordinary checkpoint folders."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

SENTENCES = (
    "The crane at Rotterdam lifted forty containers before noon.",
    "Ada Lovelace wrote to Charles Babbage about the engine in London.",
    "Invoice 4711 from Maersk was paid on 3 May; the rest [[later]] | maybe.",
    "Mark the entities of these kinds in the text.\nText:\nTagged:\nperson place company",
    "Zürich, Łódź and 東京 were named in the same e-mail, 100g each \U0001f600.",
)

FAMILIES = ("llama", "qwen3", "gpt2", "mistral", "gemma3")

WINDOW = 24
"""Sliding window of the Mistral and Gemma bases: much shorter than the test's prompts."""


def make_base(family: str, folder: Path, *, seed: int = 0) -> Path:
    """A base of `family` with random weights under `folder`; weights are large enough that decisions differ."""
    tokenizer = make_tokenizer()
    torch.manual_seed(seed)
    network = AutoModelForCausalLM.from_config(_config(family, len(tokenizer)))
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim == 2 and "embed" not in name and "wte" not in name:
                weight.mul_(4.0)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_tokenizer() -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    bpe.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", pad_token="</s>")


def _config(family: str, vocabulary: int) -> PreTrainedConfig:
    shape = {"vocab_size": vocabulary, "num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4}
    wide = {**shape, "intermediate_size": 64, "num_key_value_heads": 2, "max_position_embeddings": 512}
    match family:
        case "llama":
            return LlamaConfig(**wide)
        case "qwen3":
            return Qwen3Config(**wide, head_dim=8)
        case "gpt2":
            return GPT2Config(vocab_size=vocabulary, n_layer=2, n_embd=32, n_head=4, n_positions=512)
        case "mistral":
            return MistralConfig(**wide, sliding_window=WINDOW)
        case "gemma3":
            layers = ["sliding_attention", "full_attention"]
            return Gemma3TextConfig(**wide, head_dim=8, sliding_window=WINDOW, layer_types=layers)
    raise ValueError(f"unknown family {family!r}")
