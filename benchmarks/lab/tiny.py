"""A base with random weights that is as quick as a base can be, its texts, and an adapter of it.

For measuring everything that is not the model.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

NERX = (sys.executable, "-m", "nerx")

NAMES = ("Ada", "Bo", "Chidi", "Dunja", "Eve", "Femi", "Grace", "Hana", "Ivo", "José", "Kei", "Léa", "Mina", "Ola")
PLACES = ("Rome", "Oslo", "Lagos", "Lima", "Zürich", "東京", "Łódź", "Quito", "Pune", "Perth", "Kyiv", "Bern")
VERBS = ("met", "phoned", "paid", "left", "saw", "thanked", "joined")
VOCABULARY = 2000


def text_of(row: int) -> str:
    name, verb = NAMES[row % len(NAMES)], VERBS[row // 3 % len(VERBS)]
    return f"{row} {name} {verb} {PLACES[row // 5 % len(PLACES)]} ."


def make_adapter(work: Path) -> Path:
    """A tiny base, fitted for a moment so that there is a real adapter."""
    base = make_tiny_base(work / "base", (text_of(row) for row in range(5000)))
    lines = []
    for row in range(12):
        text = text_of(row)
        name, place = text.split()[1], text.split()[3]
        spans = [(name, "person"), (place, "place")]
        entities = [{"start": text.index(s), "end": text.index(s) + len(s), "label": label} for s, label in spans]
        lines.append(json.dumps({"text": text, "entities": entities}))
    (work / "seeds.jsonl").write_text("\n".join(lines) + "\n")
    fit = ["fit", work / "seeds.jsonl", "--base", base, "--budget", "quick", "--out", work / "adapter", "--quiet"]
    subprocess.run([*NERX, *map(str, fit)], check=True)
    return work / "adapter"


def make_tiny_base(folder: Path, texts: Iterable[str]) -> Path:
    """A Llama of one narrow layer under `folder`. Its vocabulary is learned from `texts`, which keeps them short."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=alphabet)
    bpe.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        num_hidden_layers=1,
        hidden_size=32,
        intermediate_size=64,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
