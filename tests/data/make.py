"""Makes what lies beside this file: `python tests/data/make.py`, in a checkout whose files must stay readable.

It uses the command line alone, so that it runs with every version. Never run it to make a failing test pass: the files
stand for outputs and unfinished runs that users have.
"""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).parent
PLACE = Path("/tmp/nerx-data")
"""Where the runs are made: growing outputs note the absolute paths of their inputs."""

ROWS = 700
"""More than two batches on a CPU, so that a run can be stopped after the first."""


def main() -> None:
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir()
    make_base(PLACE / "base")
    write(PLACE / "corpus.jsonl", 0, ROWS)
    seeds = [
        {"text": "Ada left Rome.", "entities": [entity(0, 3, "person"), entity(9, 13, "place")]},
        {"text": "Bob saw Oslo.", "entities": [entity(0, 3, "person"), entity(8, 12, "place")]},
        {"text": "It rained.", "entities": []},
    ]
    (PLACE / "seeds.jsonl").write_text("".join(json.dumps(seed) + "\n" for seed in seeds))
    fit = ("fit", "seeds.jsonl", "--base", "base", "--out", "adapter", "--epochs", "1", "--rank", "1")
    subprocess.run(nerx(*fit, "--min-score", "0", "--device", "cpu"), cwd=PLACE, check=True)
    stop("corpus.jsonl", "--out", "stopped.parquet")
    stop("corpus.jsonl", "--out", "shared", "--shard", "1/2")
    lake = PLACE / "lake"
    lake.mkdir()
    write(lake / "a.jsonl", 0, 3)
    write(lake / "b.jsonl", 10, 3)
    growing = ("lake", "--out", "grown", "--incremental")
    subprocess.run(extract(*growing), cwd=PLACE, check=True)
    write(lake / "c.jsonl", 100, ROWS)
    stop(*growing)
    for path in sorted(PLACE.iterdir()):
        if path.name != "seeds.jsonl":
            (shutil.copytree if path.is_dir() else shutil.copy)(path, HERE / path.name)


def make_base(folder: Path) -> None:
    """A Llama that knows bytes, of one layer and random weights."""
    vocabulary = {token: at for at, token in enumerate(["<s>", "</s>", *pre_tokenizers.ByteLevel.alphabet()])}
    letters = Tokenizer(models.BPE(vocabulary, []))
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=letters, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    torch.manual_seed(0)
    shape = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=512, tie_word_embeddings=True, **shape)
    network = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim == 2 and "embed" not in name:
                weight.mul_(8.0)  # else every decision is a tie
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def entity(start: int, end: int, label: str) -> dict[str, object]:
    return {"start": start, "end": end, "label": label}


def write(path: Path, first: int, count: int) -> None:
    rows = [{"id": n, "text": f"Ada met {n} of us."} for n in range(first, first + count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def nerx(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "nerx", *arguments]


def extract(*arguments: str) -> list[str]:
    return nerx("extract", *arguments, "--adapter", "adapter", "--device", "cpu")


def stop(*arguments: str) -> None:
    """A run that is stopped after its first batch."""
    with subprocess.Popen(extract(*arguments), cwd=PLACE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("extracting: "):
                process.send_signal(signal.SIGTERM)
                break
        process.communicate()
        assert process.returncode == 128 + signal.SIGTERM


if __name__ == "__main__":
    main()
