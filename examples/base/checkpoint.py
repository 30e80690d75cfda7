"""Checkpoints that a kill cannot leave half written."""

from pathlib import Path
from typing import Any

import torch


def save(state: dict[str, Any], path: Path) -> None:
    """Replace `path` in one step."""
    fresh = path.with_suffix(".new")
    torch.save(state, fresh)
    fresh.replace(path)
