"""Checkpoints that a kill cannot leave half written, and the log that goes with them.

A checkpoint is one safetensors file: its tensors, and in its metadata JSON for all the rest. Reading one runs no code.
"""

import json
from pathlib import Path
from typing import Any, TextIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...engine.errors import InputError

_STATE = "state"
"""The only key of the metadata."""


def save(state: dict[str, Any], path: Path) -> None:
    """Replace `path` in one step. `state` is a tree of dicts, lists and tuples over tensors and what JSON knows.

    The keys of a dict are strings or whole numbers. Raises OSError when the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    told = json.dumps(_without_tensors(state, "", tensors, {}))
    fresh = path.with_suffix(".new")
    try:
        save_file(tensors, fresh, metadata={_STATE: told})
    except SafetensorError as error:
        fresh.unlink(missing_ok=True)
        raise OSError(str(error)) from error
    fresh.replace(path)


def load(path: Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """What `save` was given, with its tensors on `device`; tuples come back as lists.

    Raises InputError when the file is damaged.
    """
    try:
        with safe_open(path, "pt", device=str(device)) as file:
            # Cloned: on a CPU the tensor is a window into the file, and the next checkpoint takes the file's place.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  # no dict
            told = json.loads((file.metadata() or {})[_STATE])
        state: dict[str, Any] = _with_tensors(told, tensors)
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"{path}: not a checkpoint, or damaged ({error}); remove it and begin again") from error
    return state


def _without_tensors(value: Any, name: str, tensors: dict[str, Tensor], known: dict[Any, str]) -> Any:
    """`value` as JSON. A tensor goes into `tensors`, and its name stands in its place; tied weights go there once."""
    if isinstance(value, Tensor):
        place = (value.data_ptr(), value.shape, value.stride(), value.dtype)
        if place not in known:
            known[place] = name
            tensors[name] = value.detach().contiguous()
        return {"tensor": known[place]}
    if isinstance(value, dict):
        return {"items": [[key, _without_tensors(one, _join(name, key), tensors, known)] for key, one in value.items()]}
    if isinstance(value, list | tuple):
        return [_without_tensors(one, _join(name, place), tensors, known) for place, one in enumerate(value)]
    return value


def _join(name: str, key: str | int) -> str:
    return f"{name}/{key}" if name else str(key)


def _with_tensors(told: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of `_without_tensors`. JSON turns numbers that are keys into strings, so dicts are lists of pairs."""
    if isinstance(told, list):
        return [_with_tensors(one, tensors) for one in told]
    if not isinstance(told, dict):
        return told
    if "tensor" in told:
        return tensors[told["tensor"]]
    return {key: _with_tensors(one, tensors) for key, one in told["items"]}


def open_log(path: Path, tokens: int) -> TextIO:
    """The log, to append to, without what a killed run wrote after its last checkpoint, at `tokens` tokens."""
    if path.is_file():
        whole = (line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n"))
        fresh = path.with_suffix(".new")
        fresh.write_text("".join(line for line in whole if json.loads(line)["tokens"] <= tokens))
        fresh.replace(path)
    return path.open("a")
