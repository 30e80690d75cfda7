"""What a base went through: `training.json` beside its weights. Each stage adds to it, and the card is made of it."""

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

    def told(self) -> str:
        """An item of a list in Markdown, for a card."""
        read = "plain text" if self.kind == "text" else f"nerx's own format: {self.rows:,} texts"
        took = f"{self.steps:,} steps, seed {self.seed}, {self.seconds / 60:.0f} minutes on {self.device}"
        return f"- {self.kind} stage, {read}, {self.tokens:,} tokens;\n  {took}"


@dataclass(frozen=True, slots=True)
class History:
    """`origin`: what the first stage began from. The embedded base says minilm or llama, other bases their name."""

    origin: str
    stages: tuple[Stage, ...]

    @classmethod
    def of(cls, start: str | Path) -> "History":
        """What the start of a stage went through: the history in that folder, else its name alone."""
        path = Path(start) / FILE
        return cls.from_dict(json.loads(path.read_text())) if path.is_file() else cls(Path(start).name, ())

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> "History":
        """From what `asdict` gave, JSON or not; other keys are left alone."""
        stages = ({**stage, "sources": tuple(stage["sources"])} for stage in told["stages"])
        return cls(told["origin"], tuple(Stage(**stage) for stage in stages))

    def then(self, stage: Stage) -> "History":
        """This history with one more stage."""
        return History(self.origin, (*self.stages, stage))

    def write(self, folder: Path, **more: Any) -> None:
        """Write it into `folder`; `more` is for people, and `of` leaves it alone."""
        (folder / FILE).write_text(json.dumps({**asdict(self), **more}, indent=1) + "\n")


def in_words(device: str, *, bf16: bool) -> str:
    """The device of a stage, for people."""
    count = torch.get_num_threads()
    name = "one CPU core" if count == 1 else f"{count} CPU cores"
    if device != "cpu":
        name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    return f"{name} ({'bfloat16 autocast' if bf16 else 'float32'})"
