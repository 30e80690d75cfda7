"""The text stage: causal language modelling over the packed open text. Resumable.

    python examples/base/text_tune.py --tokens-in WORK/tokens --start minilm --tokens 2e8 --work WORK/text \\
        --device cuda --compile
    python examples/base/text_tune.py --tokens-in WORK/tokens --start llama --tokenizer WORK/tokenizer ...

A rerun with the same arguments goes on from the last checkpoint. At the end the folder `base` in `--work` is what
`tag_tune.py --start` takes. Prints the loss, held-out perplexity, tokens a second, and what share of the device's
measured matrix rate the step's own matrix work is.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from blocks import Blocks
from prepare import read_manifest
from start import begin
from torch import Tensor, nn
from transformers import AutoTokenizer

from nerx.adapters.priming.checkpoint import load, open_log, save
from nerx.adapters.priming.history import History, Stage, in_words
from nerx.adapters.priming.schedule import share_of_rate
from nerx.engine.tagging.loading import prepare_process


def main() -> None:
    options = parse()
    prepare_process(torch.device(options.device))
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    torch.set_float32_matmul_precision("high")
    options.work.mkdir(parents=True, exist_ok=True)
    network, tokenizer = begin(options.start, tokenizer=options.tokenizer, width=options.width, layers=options.layers)
    network.to(options.device).train()
    seen, steps, seconds = train(network, options)
    base = options.work / "base"
    network.save_pretrained(base)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(base)
    device = in_words(options.device, bf16=not options.float32)
    sources = tuple(read_manifest(options.tokens_in))
    stage = Stage("text", seen, 0, steps, round(seconds), options.seed, device, sources)
    History.of(options.start).then(stage).write(base)
    print(f"{base}: {seconds / 60:.1f} minutes of training")


def train(network: Any, options: argparse.Namespace) -> tuple[int, int, float]:
    """Learn until `options.tokens` tokens were seen; returns tokens, steps and seconds, over all runs."""
    blocks = Blocks(options.tokens_in, "train", options.context)
    held_out = Blocks(options.tokens_in, "held_out", options.context)
    optimizers = make_optimizers(network, options)
    rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    checkpoint = options.work / "checkpoint.safetensors"
    seen, step, seconds = 0, 0, 0.0
    if checkpoint.exists():
        saved = load(checkpoint, options.device)
        network.load_state_dict(saved["network"])
        for optimizer, state in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        seen, step, seconds = saved["progress"]
        print(f"resumed at {seen:,} tokens", flush=True)
    forward = torch.compile(loss_of) if options.compile else loss_of
    matrix_rate, flops = measure_matrix_rate(options.device), flops_a_token(network, options.context)
    log = open_log(options.work / "log.jsonl", seen)
    pace = Pace(seconds)
    for ids, cases in endless(blocks, options.seed, options.batch, skip=step):
        if seen >= options.tokens:
            break
        share = share_of_rate(seen / options.tokens, step)
        for optimizer, of_groups in zip(optimizers, rates, strict=True):
            for group, rate in zip(optimizer.param_groups, of_groups, strict=True):
                group["lr"] = rate * share
        with autocast(options):
            loss = forward(network, ids.to(options.device), cases.to(options.device))
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        seen, step = seen + ids.shape[0] * options.context, step + 1
        pace.step(ids.shape[0] * options.context, loss)
        if step % options.every == 0 or seen >= options.tokens:
            last = float(loss)
            rate = pace.lap()
            record = {"step": step, "tokens": seen, "seconds": round(pace.seconds), "loss": round(last, 4)}
            record |= {"held_out_perplexity": round(perplexity(network, held_out, options), 2)}
            record |= {"tokens_a_second": round(rate), "share_of_matrix_rate": round(rate * flops / matrix_rate, 3)}
            log.write(json.dumps(record) + "\n")
            log.flush()
            print(json.dumps(record), flush=True)
            states = [optimizer.state_dict() for optimizer in optimizers]
            state = {"network": network.state_dict(), "optimizers": states, "progress": (seen, step, pace.seconds)}
            save(state, checkpoint)
            pace.start()
    return seen, step, pace.seconds


class Pace:
    """Seconds of training, over all runs, and tokens a second since the last record.

    The first step of a run compiles on the way: it counts among the seconds and not in the rate, unless it is all.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._is_first = True
        self.start()

    def start(self) -> None:
        """After a pause that is not training."""
        self._since = self._steady = time.monotonic()
        self._tokens = self._before = 0

    def step(self, tokens: int, loss: Tensor) -> None:
        self._tokens += tokens
        if self._is_first:
            loss.item()  # waits for the device
            self._is_first, self._steady, self._before = False, time.monotonic(), self._tokens

    def lap(self) -> float:
        """Tokens a second; the step before it has to be finished."""
        now = time.monotonic()
        self.seconds += now - self._since
        if self._tokens > self._before:
            return (self._tokens - self._before) / (now - self._steady)
        return self._tokens / (now - self._since)


def loss_of(network: Any, ids: Tensor, cases: Tensor) -> Tensor:
    """Mean cross-entropy of every next token of blocks (batch, context + 1)."""
    extra = {"token_type_ids": cases[:, :-1]} if getattr(network.config, "nerx_case", False) else {}
    logits = network(input_ids=ids[:, :-1], use_cache=False, **extra).logits
    loss: Tensor = nn.functional.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())
    return loss


@torch.no_grad()
def perplexity(network: Any, held_out: Blocks, options: argparse.Namespace, most: int = 8) -> float:
    """Over the first `most` batches of the held-out documents."""
    network.eval()
    found = []
    for number, (ids, cases) in enumerate(held_out.epoch("held out", options.batch)):
        if number == most:
            break
        with autocast(options):
            found.append(float(loss_of(network, ids.to(options.device), cases.to(options.device))))
    network.train()
    return math.exp(sum(found) / len(found))


def autocast(options: argparse.Namespace) -> torch.autocast:
    return torch.autocast(torch.device(options.device).type, torch.bfloat16, enabled=not options.float32)


def endless(blocks: Blocks, seed: int, batch: int, *, skip: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches, epoch after epoch, from the one after the `skip`-th."""
    an_epoch = max(1, len(blocks) // batch)
    epoch, skip = divmod(skip, an_epoch)
    while True:
        for number, pair in enumerate(blocks.epoch(f"{seed}/{epoch}", batch)):
            if number >= skip:
                yield pair
        epoch, skip = epoch + 1, 0


def make_optimizers(network: nn.Module, options: argparse.Namespace) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices (Jordan et al. 2024), AdamW for embeddings, norms and biases; or AdamW for all."""
    matrices = [p for n, p in network.named_parameters() if p.ndim == 2 and "embed" not in n and "predictions" not in n]
    matrices = matrices if options.optimizer == "muon" else []
    chosen = {id(p) for p in matrices}
    rest = [p for p in network.parameters() if id(p) not in chosen]
    fused = torch.optim.AdamW(rest, lr=options.rate, weight_decay=0.01, betas=(0.9, 0.95), fused=True)
    if not matrices:
        return [fused]
    # With "match_rms_adamw" a Muon step is as large as an AdamW step of the same rate (Liu et al. 2025, "Moonlight").
    return [fused, torch.optim.Muon(matrices, lr=options.rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")]


def flops_a_token(network: nn.Module, context: int) -> float:
    """Of one training step: 6 for each weight that multiplies, and the attention's own products, causal by half."""
    config: Any = network.config
    head = config.vocab_size * config.hidden_size
    layers = sum(p.numel() for n, p in network.named_parameters() if p.ndim == 2 and "embed" not in n)
    layers -= sum(p.numel() for n, p in network.named_parameters() if "decoder.weight" in n or "lm_head.weight" in n)
    return 6.0 * (layers + head) + 6.0 * config.num_hidden_layers * config.hidden_size * context


def measure_matrix_rate(device: str) -> float:
    """FLOP a second of a large bfloat16 matrix product, the best of ten."""
    size = 8192 if device.startswith("cuda") else 1024
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = math.inf
    for _ in range(10):
        began = time.perf_counter()
        a @ b
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 2.0 * size**3 / best


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens-in", type=Path, required=True, help="folder that prepare.py wrote")
    parser.add_argument("--start", default="minilm", help="minilm, llama, or a checkpoint folder")
    parser.add_argument("--tokenizer", type=Path, help="for llama: what tokenizer.py wrote")
    parser.add_argument("--width", type=int, default=384, help="of a new llama")
    parser.add_argument("--layers", type=int, default=10, help="of a new llama")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--tokens", type=float, default=2e8, help="tokens to train on, over as many epochs as it takes")
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64, help="blocks a step")
    parser.add_argument("--optimizer", choices=("muon", "adamw"), default="muon")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--every", type=int, default=200, help="steps between log, perplexity and checkpoint")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--float32", action="store_true", help="no bfloat16 autocast")
    return parser.parse_args()


if __name__ == "__main__":
    main()
