"""The base's tag stage, gone through by a rival: the same sets, the same draws of rows, as many of them.

What a rival learns here once, before it sees any seeds, is kept outside git in `benchmarks/.cache/`, in a folder named
after everything that decides on it but the length. A run that was stopped goes on from its last checkpoint, to the same
weights; a longer one goes on from the plateau of a shorter one, as if it had been meant to be so long.
"""

import contextlib
import hashlib
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

from ..places import CACHE, RECIPE

sys.path.insert(0, str(RECIPE))

from corpora import read_sets

from nerx.adapters.priming.sampler import RowSampler
from nerx.adapters.priming.schedule import DECAY
from nerx.adapters.priming.sets import AnnotatedSet
from nerx.engine.span import Seed

CHUNK = 256
"""Rows drawn at once and sorted by length into batches."""

CHECKPOINT = 20
"""Chunks between checkpoints: about 250,000 tokens."""


@dataclass(frozen=True, slots=True)
class TagStageSettings:
    """`tokens` of the rival's own input, padding left out. `head_rate` is the rate of weights that start at random.

    MiniLM's loss on rows that it had not yet seen, after 150,000 tokens: 0.412 at `rate` 1e-4, 0.418 at 3e-4.
    `batch_tokens` is padded tokens, `warmup` tokens over which the rates rise.
    `bf16` is autocast's; weights stay float32.
    """

    tokens: int
    rate: float = 1e-4
    head_rate: float = 1e-3
    batch_tokens: int = 2000
    warmup: int = 200_000
    weight_decay: float = 0.01
    bf16: bool = True
    seed: int = 0


class Student(Protocol):
    """A network that learns from annotated rows. An example's length is its number of tokens."""

    @property
    def network(self) -> "torch.nn.Module": ...

    def is_fresh(self, weight: str) -> bool:
        """Whether the parameter of this name started at random, not from the pretrained encoder."""

    def example(self, dataset: AnnotatedSet, row: Seed, rng: random.Random) -> Any: ...

    def loss(self, examples: Sequence[Any]) -> "torch.Tensor": ...

    def save(self, folder: Path) -> None:
        """Writes what the stage with the seeds starts from."""


class TagStage:
    """One rival's tag stage. `enrol` makes the student from the sets; `name` tells rivals apart in the cache."""

    def __init__(
        self,
        name: str,
        enrol: Callable[[Sequence[AnnotatedSet]], Student],
        settings: TagStageSettings,
        data: Path,
        cache: Path = CACHE,
    ) -> None:
        self._name, self._enrol, self._settings, self._data = name, enrol, settings, data
        self._cache = cache

    @property
    def key(self) -> Mapping[str, object]:
        """All that decides on the outcome but the encoder and versions of packages, as JSON values."""
        return {**asdict(self._settings), "rows": rows_digest(self._data)}

    @property
    def tokens(self) -> int:
        return self._settings.tokens

    @property
    def folder(self) -> Path:
        settings = {name: value for name, value in self.key.items() if name != "tokens"}
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
        return self._cache / f"{self._name}-{digest}"

    def outcome(self) -> Path:
        """The folder that `Student.save` wrote; what is missing of the training is done first, with a line a chunk."""
        from filelock import FileLock

        done = self.folder / f"model-{self._settings.tokens}"
        if done.is_dir():
            return done
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "lock"):  # of two runs that want it, one trains and the other waits
            if not done.is_dir():
                (self.folder / "settings.json").write_text(json.dumps(self.key, indent=1) + "\n")
                student = train(self._enrol, read(self._data), self._settings, self.folder)
                fresh = done.with_name(f"{done.name}.new")
                student.save(fresh)
                fresh.rename(done)
                checkpoint(self.folder, self._settings.tokens).unlink()
        return done


@cache
def read(data: Path) -> tuple[AnnotatedSet, ...]:
    """The sets that the recipe of the base trains on, leaks left out."""
    return tuple(read_sets(data))


@cache
def rows_digest(data: Path) -> str:
    """16 hex digits over all texts and their spans, in order."""
    digest = hashlib.sha256()
    for one in read(data):
        digest.update(json.dumps([one.name, [(row.text, list(map(asdict, row.spans))) for row in one.rows]]).encode())
    return digest.hexdigest()[:16]


def train(
    enrol: Callable[[Sequence[AnnotatedSet]], Student],
    sets: Sequence[AnnotatedSet],
    settings: TagStageSettings,
    folder: Path,
) -> Student:
    """Draw, learn and checkpoint until `settings.tokens` tokens were seen; goes on where `folder` has a checkpoint."""
    import torch

    torch.manual_seed(settings.seed)
    student = enrol(sets)
    network = student.network.train()
    optimizer = _optimizer(student, settings)
    rates = [group["lr"] for group in optimizer.param_groups]
    seen, chunk, seconds = resume(network, optimizer, settings.tokens, folder)
    sampler = RowSampler(sets)
    with _fast_kernels():
        while seen < settings.tokens:
            began = time.monotonic()
            losses = []
            for group in _batches(student, sampler, settings, chunk):
                for parameters, rate in zip(optimizer.param_groups, rates, strict=True):
                    parameters["lr"] = rate * schedule(seen, settings)
                with torch.autocast("cpu", torch.bfloat16, enabled=settings.bf16):
                    loss = student.loss(group)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
                losses.append(float(loss.detach()))
                seen += sum(map(len, group))
            chunk += 1
            seconds += time.monotonic() - began
            _log(folder, seen, settings.tokens, sum(losses) / len(losses), seconds)
            if chunk % CHECKPOINT == 0 or seen >= settings.tokens:
                state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
                _save({**state, "progress": (seen, chunk, seconds)}, folder, settings.tokens)
    return student


def schedule(seen: int, settings: TagStageSettings) -> float:
    """Factor on the rates after `seen` tokens: a linear rise, a plateau, and over the last DECAY a linear fall."""
    rise = (seen + 1) / settings.warmup if settings.warmup else 1.0
    return min(1.0, rise, max(1e-3, (settings.tokens - seen) / (DECAY * settings.tokens)))


def plateau(folder: Path) -> Path:
    """The last checkpoint before rates fell: any longer run can go on from it."""
    return folder / "plateau.safetensors"


def checkpoint(folder: Path, tokens: int) -> Path:
    """The last checkpoint of a run of `tokens` tokens that has left the plateau."""
    return folder / f"checkpoint-{tokens}.safetensors"


def resume(
    network: "torch.nn.Module", optimizer: "torch.optim.Optimizer", tokens: int, folder: Path
) -> tuple[int, int, float]:
    """Loads what a run of `tokens` tokens may go on from: tokens seen, chunks drawn, seconds taken so far."""
    from nerx.adapters.priming.checkpoint import load

    for path in (checkpoint(folder, tokens), plateau(folder)):
        if not path.is_file():
            continue
        saved = load(path)
        seen, chunk, seconds = saved["progress"]
        if path == plateau(folder) and seen > (1 - DECAY) * tokens:
            continue  # of a longer run, which was still at full rate where this one's fell already
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        return seen, chunk, seconds
    return 0, 0, 0.0


def _save(state: dict[str, Any], folder: Path, tokens: int) -> None:
    from nerx.adapters.priming.checkpoint import save

    save(state, plateau(folder) if state["progress"][0] <= (1 - DECAY) * tokens else checkpoint(folder, tokens))


def _batches(student: Student, sampler: RowSampler, settings: TagStageSettings, chunk: int) -> Iterator[list[Any]]:
    """The batches of one chunk, the same ones whenever it is drawn."""
    import torch

    from nerx.adapters.dataset import batches

    rng = random.Random(f"{settings.seed}/{chunk}")
    torch.manual_seed(settings.seed * 1_000_003 + chunk)
    examples = [student.example(*sampler.draw(rng), rng) for _ in range(CHUNK)]
    yield from batches(examples, settings.batch_tokens, rng)


def _optimizer(student: Student, settings: TagStageSettings) -> "torch.optim.Optimizer":
    import torch

    named = list(student.network.named_parameters())
    fresh = [weight for name, weight in named if student.is_fresh(name)]
    body = [weight for name, weight in named if not student.is_fresh(name)]
    groups = [{"params": body, "lr": settings.rate}, {"params": fresh, "lr": settings.head_rate}]
    return torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)


def _fast_kernels() -> contextlib.AbstractContextManager[None]:
    """PyTorch's fused CPU attention is slow backwards in bfloat16; see examples/base/tag_tune.py."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return sdpa_kernel(SDPBackend.MATH)


def _log(folder: Path, seen: int, tokens: int, loss: float, seconds: float) -> None:
    with (folder / "log.jsonl").open("a") as file:
        file.write(json.dumps({"tokens": seen, "loss": round(loss, 4), "seconds": round(seconds)}) + "\n")
    print(
        f"{folder.name}: {seen:,} of {tokens:,} tokens, loss {loss:.3f}, {seen / seconds:,.0f} tokens/s",
        file=sys.stderr,
        flush=True,
    )
