"""Checkpoints that a kill cannot leave half written, and the log that goes with them."""

import json
from pathlib import Path
from typing import Any, TextIO

import torch


def save(state: dict[str, Any], path: Path) -> None:
    """Replace `path` in one step."""
    fresh = path.with_suffix(".new")
    torch.save(state, fresh)
    fresh.replace(path)


def open_log(path: Path, tokens: int) -> TextIO:
    """The log, to append to, without what a killed run wrote after its last checkpoint, at `tokens` tokens."""
    if path.is_file():
        whole = (line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n"))
        fresh = path.with_suffix(".new")
        fresh.write_text("".join(line for line in whole if json.loads(line)["tokens"] <= tokens))
        fresh.replace(path)
    return path.open("a")
