"""Boundary first or label first? Both tag orders learned from the same warm start, judged by likelihood.

    python -m benchmarks.quality.tag_order --data DATA    three seeds, 300,000 tokens each, 15 minutes, one core
    python -m benchmarks.quality.tag_order --data DATA --quick

    boundary first   [[Ada Lovelace|person]]      the label is chosen when the mention has been read
    label first      [[person|Ada Lovelace]]      the label is chosen on seeing what comes

Both write the same set of tagged texts, so the negative log-likelihood of a text's right answer, over the legal
tokens, compares them fairly without decoding. Held-out texts are the `dev` splits of the sets that are trained on.
"""

import argparse
import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..lab.dataset import DEFAULT_DATA
from ..lab.machine import commit, this_machine
from ..lab.places import RECIPE, RESULTS

sys.path.insert(0, str(RECIPE))

from corpora import read_sets
from warm_start import encoder_folder, warm_start

from nerx.adapters.batch import collate
from nerx.adapters.dataset import Example, batches
from nerx.adapters.hyperparameters import LossWeights
from nerx.adapters.objective import Projection, losses
from nerx.adapters.priming.glossary import Glossary
from nerx.adapters.priming.sampler import Sampler
from nerx.engine.tagging.allocator import keep_freed_memory
from nerx.engine.tagging.drafter import WINDOW, Drafter
from nerx.engine.tagging.guide import Node, Phase, State
from nerx.engine.tagging.model import LanguageModel
from nerx.engine.tagging.prompt import Decision, Tagged

Order = Callable[[LanguageModel, Example], Example]
RESULT = RESULTS / "tag_order.json"
_NO_STATE = State(Phase.OUTSIDE, 0, -1, None)


def boundary_first(_model: LanguageModel, example: Example) -> Example:
    """What nerx writes."""
    return example


def label_first(model: LanguageModel, example: Example) -> Example:
    """The same mentions as OPEN label CLOSE mention BAR."""
    source, tagged, tags, trie = example.source, example.tagged, model.tags, example.head.trie
    ids: list[int] = []
    copied: list[int] = []
    decisions: list[Decision] = []

    def put(token: int, allowed: Sequence[int], done: int) -> None:
        if len(allowed) > 1:
            decisions.append(Decision(len(ids), _NO_STATE, tuple(allowed), list(allowed).index(token)))
        ids.append(token)
        copied.append(done)

    def copy(at: int, marker: int, *, free: bool) -> None:
        may = free and source.borders[at] and source.ids[at] != marker
        put(source.ids[at], (source.ids[at], marker) if may else (source.ids[at],), at + 1)

    at = 0
    for start, end, label in [*tagged.spans, (len(source), len(source), -1)]:
        for at in range(at, start):  # noqa: B020  # goes on where the last mention ended
            copy(at, tags.open, free=True)
        at = start
        if label < 0:
            break
        put(tags.open, (source.ids[at], tags.open), at)
        node: Node = trie.root
        for token in trie.paths[label]:
            put(token, tuple(node.children), at)
            node = node.children[token]
        for at in range(start, end):
            copy(at, tags.bar, free=at > start)
        at = end
        put(tags.bar, (source.ids[at], tags.bar) if at < len(source) else (tags.bar,), at)
    return replace(example, tagged=Tagged(tuple(ids), tuple(copied), tuple(decisions), tagged.spans, (), ()))


def main() -> None:
    options = parse()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    glossary = Glossary.read(RECIPE / "descriptions.json")
    found: dict[str, list[float]] = {"boundary_first": [], "label_first": []}
    with sdpa_kernel(SDPBackend.MATH):
        for seed in range(options.seeds):
            for order in (boundary_first, label_first):
                found[order.__name__].append(learn(order, options, glossary, seed))
                print(f"seed {seed}  {order.__name__:<16} {found[order.__name__][-1]:.3f} nats a text", flush=True)
    means = {name: sum(values) / len(values) for name, values in found.items()}
    better = min(means, key=lambda name: means[name])
    print(f"better: {better}, {means['boundary_first']:.3f} against {means['label_first']:.3f}")
    record: dict[str, Any] = {"nats_a_text": {k: [round(x, 4) for x in v] for k, v in found.items()}, "better": better}
    record |= {"tokens": options.tokens, "held_out_texts": options.texts, "commit": commit()}
    record |= {"machine": this_machine().to_dict(), "date": datetime.now(UTC).date().isoformat()}
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n")


def learn(order: Order, options: argparse.Namespace, glossary: Glossary, seed: int) -> float:
    """Mean negative log-likelihood of held-out answers after `options.tokens` tokens of the tag stage."""
    from transformers import AutoTokenizer

    torch.manual_seed(seed)
    network = warm_start()
    model = LanguageModel(network, AutoTokenizer.from_pretrained(encoder_folder()), "warm start")
    drafter, projection = Drafter(model.width), Projection(model.width, WINDOW)
    sampler = Sampler(read_sets(options.data), glossary, model.encoder)
    held_out = Sampler(read_sets(options.data, splits=("dev",)), glossary, model.encoder)
    weights = LossWeights(draft=0.0, contrast=0.0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-4, weight_decay=0.05, betas=(0.9, 0.98), fused=True)
    seen, step, rng = 0, 0, random.Random(seed)
    while seen < options.tokens:
        examples = [order(model, sampler.draw(rng)) for _ in range(128)]
        for group in batches(examples, 3000, rng):
            optimizer.param_groups[0]["lr"] = 4e-4 * min(1, (step + 1) / 50) * max(0.03, 1 - seen / options.tokens)
            with torch.autocast("cpu", torch.bfloat16):
                loss = losses(model, drafter, projection, collate(model.encoder, group, rng), weights)
            torch.autograd.backward(loss.total)
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            seen, step = seen + sum(map(len, group)), step + 1
    return judge(model, [order(model, held_out.draw(rng_of(k))) for k in range(options.texts)])


def rng_of(k: int) -> random.Random:
    return random.Random(f"held out {k}")


@torch.inference_mode()
def judge(model: LanguageModel, examples: Sequence[Example]) -> float:
    model.network.eval()
    drafter, projection = Drafter(model.width), Projection(model.width, WINDOW)
    total = 0.0
    for group in batches(examples, 6000, random.Random(0)):
        batch = collate(model.encoder, group, random.Random(0))
        loss = losses(model, drafter, projection, batch, LossWeights(draft=0.0, contrast=0.0))
        total += float(loss.legal) * sum(len(one.right) for one in batch.decisions)
    return total / len(examples)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--quick", action="store_true", help="60,000 tokens each, one seed")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help=f"default: {RESULT.name} in results/; with --quick, none")
    options = parser.parse_args()
    options.tokens, options.texts, options.seeds = (60_000, 200, 1) if options.quick else (300_000, 1000, 3)
    options.json = options.json or (None if options.quick else RESULT)
    return options


if __name__ == "__main__":
    main()
