"""The tag stage: train the warm-started base and its drafter on annotated sets, in nerx's own format. Resumable.

    python examples/base/tag_tune.py --data ../shared/data/ner --tokens 4.2e6 --work examples/base/work
    python examples/base/tag_tune.py ... --start WORK/text/base --tokens-in WORK/tokens --replay 0.1

A rerun with the same arguments goes on from the last checkpoint, to the same weights as an undisturbed run.
"""

import argparse
import contextlib
import json
import random
import resource
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path

import torch
from blocks import Blocks
from corpora import read_sets
from start import begin
from text_tune import loss_of
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader, Dataset

from nerx.adapters.batch import Batch, collate
from nerx.adapters.dataset import batches
from nerx.adapters.hyperparameters import LossWeights
from nerx.adapters.objective import Projection, losses
from nerx.adapters.priming.checkpoint import load, open_log, save
from nerx.adapters.priming.glossary import Glossary
from nerx.adapters.priming.history import History, Stage, in_words
from nerx.adapters.priming.sampler import Sampler
from nerx.adapters.priming.schedule import share_of_rate
from nerx.engine.tagging.drafter import WINDOW, Drafter
from nerx.engine.tagging.loading import load_drafter, prepare_process
from nerx.engine.tagging.model import LanguageModel
from nerx.engine.tagging.prompt import PromptEncoder

CHUNK = 256
"""Examples drawn at once, at least, and sorted by length into batches."""

REPLAYED = 256
"""Tokens of one block of replayed text."""


def main() -> None:
    options = parse()
    prepare_process(torch.device(options.device))
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    options.work.mkdir(parents=True, exist_ok=True)
    from transformers import AutoTokenizer

    network, tokenizer = begin(
        options.start,
        aligned=not options.sequential,
        case=not options.no_case,
        tokenizer=options.tokenizer,
    )
    model = LanguageModel(network, AutoTokenizer.from_pretrained(tokenizer), options.start)
    drafter = load_drafter(Path(options.start), model.width) or Drafter(model.width)
    parts = nn.ModuleDict({"network": network, "drafter": drafter, "projection": Projection(model.width, WINDOW)}).to(
        options.device
    )
    glossary = Glossary.read(Path(__file__).parent / "descriptions.json")
    sampler = Sampler(read_sets(options.data), glossary, model.encoder)
    if options.workers:
        allow_files()
    # PyTorch's fused CPU attention is slow backwards in bfloat16: 0.44 s a step against 0.1 s for plain matmuls.
    with sdpa_kernel(SDPBackend.MATH) if options.device == "cpu" else contextlib.nullcontext():
        train(Learner(model, parts, options), Chunks(sampler, model.encoder, options.batch, options.seed))


class Chunks(Dataset[list[Batch]]):
    """Chunk k of the endless training data, as collated batches: the same whoever draws it, and when."""

    def __init__(self, sampler: Sampler, encoder: PromptEncoder, batch: int, seed: int) -> None:
        self._sampler, self._encoder, self._batch, self._seed = sampler, encoder, batch, seed
        self.rows = max(CHUNK, batch // 12)  # batches enough that the small one that is left over is rare

    def __getitem__(self, chunk: int) -> list[Batch]:
        rng = random.Random(f"{self._seed}/{chunk}")
        examples = [self._sampler.draw(rng) for _ in range(self.rows)]
        return [collate(self._encoder, group, rng) for group in batches(examples, self._batch, rng)]


class Learner:
    """Network, drafter and projection with their optimizer, and how far they are."""

    def __init__(self, model: LanguageModel, parts: nn.ModuleDict, options: argparse.Namespace) -> None:
        self.model, self.parts, self.options = model, parts, options
        fresh = [*parts["drafter"].parameters(), *parts["projection"].parameters()]
        network = {"params": list(parts["network"].parameters()), "lr": options.rate}
        self.optimizer = torch.optim.AdamW(
            [network, {"params": fresh, "lr": 2 * options.rate}], weight_decay=0.05, betas=(0.9, 0.98), fused=True
        )
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self._weights = LossWeights(draft=1.0, contrast=options.contrast)
        self._replayed = Blocks(options.tokens_in, "train", REPLAYED) if options.replay else None
        self._means: dict[str, Tensor] = {}
        self.seen, self.step, self.chunk, self.seconds = 0, 0, 0, 0.0
        self.checkpoint = options.work / "checkpoint.safetensors"
        if self.checkpoint.exists():
            saved = load(self.checkpoint, options.device)
            parts.load_state_dict(saved["parts"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.seen, self.step, self.chunk, self.seconds = saved["progress"]
            print(f"resumed at {self.seen:,} tokens", flush=True)
        self._since = time.monotonic()

    def learn(self, chunk: Sequence[Batch]) -> None:
        torch.manual_seed(self.options.seed * 1_000_003 + self.chunk)
        for batch in chunk:
            moved = batch.to(self.model.device)
            with self._autocast():
                loss = losses(self.model, self.parts["drafter"], self.parts["projection"], moved, self._weights)
            self._descend(loss.total, batch.size)
            for name in ("legal", "draft", "contrast"):
                value: Tensor = getattr(loss, name).float()
                self._means[name] = value + 0.98 * (self._means.get(name, value) - value)
            self._replay(batch.size)
        self.chunk += 1

    def _replay(self, tokens: int) -> None:
        """Now and then a step of the text stage, of about `tokens` tokens, so that what it taught is not lost."""
        rng = random.Random(f"replay {self.options.seed}/{self.step}")
        if self._replayed is None or rng.random() >= self.options.replay:
            return
        numbers = [rng.randrange(len(self._replayed)) for _ in range(max(1, tokens // REPLAYED))]
        ids, cases = (part.to(self.model.device) for part in self._replayed[numbers])
        with self._autocast():
            loss = loss_of(self.parts["network"], ids, cases)
        self._descend(loss, ids.numel())

    def _descend(self, loss: Tensor, tokens: int) -> None:
        share = share_of_rate(self.seen / self.options.tokens, self.step)
        for parameters, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            parameters["lr"] = rate * share
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.parts.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.seen, self.step = self.seen + tokens, self.step + 1

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.options.bf16)

    def record(self) -> dict[str, float]:
        """Progress, and each loss as a running mean. Time is counted from one record to the next, drawing included."""
        found = {name: round(float(value), 4) for name, value in self._means.items()}  # waits for the device
        now = time.monotonic()
        self.seconds, self._since = self.seconds + now - self._since, now
        return {"step": self.step, "tokens": self.seen, "seconds": round(self.seconds), **found}

    def save(self, rows: int) -> None:
        """The checkpoint, with what the card will tell; `rows` texts were drawn so far."""
        options = self.options
        state = {"parts": self.parts.state_dict(), "optimizer": self.optimizer.state_dict()}
        progress = (self.seen, self.step, self.chunk, self.seconds)
        device = in_words(options.device, bf16=options.bf16)
        stage = Stage("tag", self.seen, rows, self.step, round(self.seconds), options.seed, device)
        history = asdict(History.of(options.start).then(stage))
        save({**state, "progress": progress, "history": history}, self.checkpoint)


def train(learner: Learner, data: Chunks) -> None:
    """Draw, learn and checkpoint until `--tokens` tokens (padding left out) were seen."""
    options = learner.options
    log = open_log(options.work / "log.jsonl", learner.seen)
    learner.parts.train()
    loader = DataLoader(data, batch_size=None, sampler=count(learner.chunk), num_workers=options.workers)
    for chunk in loader if learner.seen < options.tokens else ():
        learner.learn(chunk)
        record = learner.record()
        done = learner.seen >= options.tokens
        log.write(json.dumps(record) + "\n")
        log.flush()
        if learner.chunk % 8 == 0 or done:
            print(json.dumps(record), flush=True)
        if learner.chunk % options.every == 0 or done:
            learner.save(learner.chunk * data.rows)
        if done:
            break


def allow_files() -> None:
    """Each tensor that a worker hands over is an open file: raise this process's limit as far as it may."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of annotated sets")
    parser.add_argument("--start", default="minilm", help="minilm, llama, or the checkpoint folder of an earlier stage")
    parser.add_argument("--tokenizer", type=Path, help="for llama: what tokenizer.py wrote")
    parser.add_argument("--tokens-in", type=Path, help="what prepare.py wrote, for --replay")
    parser.add_argument("--replay", type=float, default=0.0, help="share of steps that go on with the text stage")
    parser.add_argument("--work", type=Path, default=Path(__file__).parent / "work")
    parser.add_argument("--tokens", type=float, default=8e6, help="tokens to train on")
    parser.add_argument("--batch", type=int, default=3000, help="padded tokens a batch")
    parser.add_argument("--rate", type=float, default=4e-4)
    parser.add_argument("--contrast", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0, help="processes that draw and encode texts, for a GPU")
    parser.add_argument("--every", type=int, default=40, help="chunks between checkpoints")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--sequential", action="store_true", help="positions in the answer count on (for comparison)")
    parser.add_argument("--no-case", action="store_true", help="without token types for letter case (for comparison)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
