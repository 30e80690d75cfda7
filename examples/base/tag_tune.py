"""The tag stage: train the warm-started base and its drafter on annotated sets, in nerx's own format. Resumable.

    python examples/base/tag_tune.py --data ../shared/data/ner --tokens 8e6 --work examples/base/work

A rerun with the same arguments goes on from the last checkpoint, to the same weights as an undisturbed run.
"""

import argparse
import contextlib
import json
import random
import time
from pathlib import Path
from typing import Any

import torch
from corpora import Sampler, read_sets
from torch.nn.attention import SDPBackend, sdpa_kernel
from warm_start import encoder_folder, warm_start

from nerx.adapters.dataset import batches, collate
from nerx.adapters.objective import Projection, Weights, losses
from nerx.engine.allocator import keep_freed_memory
from nerx.engine.drafter import WINDOW, Drafter
from nerx.engine.model import LanguageModel

DECAY = 0.25
"""Share of the tokens over which the learning rate comes down."""

CHUNK = 256
"""Examples drawn at once and sorted by length into batches."""


def main() -> None:
    options = parse()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    options.work.mkdir(parents=True, exist_ok=True)
    from transformers import AutoTokenizer

    network = warm_start(aligned=not options.sequential, case=not options.no_case)
    model = LanguageModel(network, AutoTokenizer.from_pretrained(encoder_folder()), "warm start")
    parts = torch.nn.ModuleDict(
        {"network": network, "drafter": Drafter(model.width), "projection": Projection(model.width, WINDOW)}
    ).to(options.device)
    glossary = json.loads((Path(__file__).parent / "descriptions.json").read_text())
    sampler = Sampler(read_sets(options.data), glossary, model.encoder)
    # PyTorch's fused CPU attention is slow backwards in bfloat16: 0.44 s a step against 0.1 s for plain matmuls.
    with sdpa_kernel(SDPBackend.MATH) if options.device == "cpu" else contextlib.nullcontext():
        train(model, parts, sampler, options)


def train(model: LanguageModel, parts: Any, sampler: Sampler, options: argparse.Namespace) -> None:
    """Draw, learn and checkpoint until `options.tokens` tokens (padding left out) were seen."""
    fresh = [*parts["drafter"].parameters(), *parts["projection"].parameters()]
    optimizer = torch.optim.AdamW(
        [
            {"params": list(parts["network"].parameters()), "lr": options.rate},
            {"params": fresh, "lr": 2 * options.rate},
        ],
        weight_decay=0.05,
        betas=(0.9, 0.98),
        fused=True,
    )
    rates = [group["lr"] for group in optimizer.param_groups]
    checkpoint = options.work / "checkpoint.pt"
    seen, step, chunk, seconds = 0, 0, 0, 0.0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        parts.load_state_dict(saved["parts"])
        optimizer.load_state_dict(saved["optimizer"])
        seen, step, chunk, seconds = saved["progress"]
        print(f"resumed at {seen:,} tokens", flush=True)
    log = (options.work / "log.jsonl").open("a")
    weights = Weights(draft=1.0, contrast=options.contrast)
    parts.train()
    means: dict[str, float] = {}
    while seen < options.tokens:
        began = time.monotonic()
        rng = random.Random(f"{options.seed}/{chunk}")
        torch.manual_seed(options.seed * 1_000_003 + chunk)
        examples = [sampler.draw(rng) for _ in range(CHUNK)]
        for group in batches(examples, options.batch, rng):
            batch = collate(model.encoder, group, rng)
            share = schedule(seen / options.tokens, step)
            for parameters, rate in zip(optimizer.param_groups, rates, strict=True):
                parameters["lr"] = rate * share
            with torch.autocast(options.device, torch.bfloat16, enabled=options.bf16):
                loss = losses(model, parts["drafter"], parts["projection"], batch, weights)
            loss.total.backward()
            torch.nn.utils.clip_grad_norm_(parts.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            seen += sum(map(len, group))
            for name in ("legal", "draft", "contrast"):
                value = float(getattr(loss, name))
                means[name] = value + 0.98 * (means.get(name, value) - value)
        chunk += 1
        seconds += time.monotonic() - began
        record = {"step": step, "tokens": seen, "seconds": round(seconds), **{k: round(v, 4) for k, v in means.items()}}
        log.write(json.dumps(record) + "\n")
        log.flush()
        if chunk % 8 == 0 or seen >= options.tokens:
            print(json.dumps(record), flush=True)
        if chunk % 40 == 0 or seen >= options.tokens:
            state = {"parts": parts.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**state, "progress": (seen, step, chunk, seconds)}, checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").replace(checkpoint)


def schedule(share: float, step: int) -> float:
    """Linear warm-up over 100 steps, a plateau, and over the last quarter linear decay to 3 %.

    A run on the plateau can be given more `--tokens` and goes on as if it had had them from the beginning.
    """
    return min(1.0, (step + 1) / 100) * min(1.0, max(0.03, (1.0 - share) / DECAY))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of annotated sets")
    parser.add_argument("--work", type=Path, default=Path(__file__).parent / "work")
    parser.add_argument("--tokens", type=float, default=8e6, help="tokens to train on")
    parser.add_argument("--batch", type=int, default=3000, help="padded tokens a batch")
    parser.add_argument("--rate", type=float, default=4e-4)
    parser.add_argument("--contrast", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--sequential", action="store_true", help="positions in the answer count on (for comparison)")
    parser.add_argument("--no-case", action="store_true", help="without token types for letter case (for comparison)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
