"""Packed blocks of the prepared text: the text stage's batches, and the tag stage's replay."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from prepare import read_manifest
from safetensors.numpy import load_file
from torch import Tensor


class Blocks:
    """All shards of one kind ("train" or "held_out"), cut into blocks of `length` + 1 tokens, digests checked.

    Raises SystemExit where a shard is not what the manifest says.
    """

    def __init__(self, folder: Path, kind: str, length: int) -> None:
        shards = [shard for of_file in read_manifest(folder).values() for shard in of_file if shard["kind"] == kind]
        if not shards:
            raise SystemExit(f"{folder}: no {kind} shards; run prepare.py first")
        parts = [_read(folder, shard) for shard in shards]
        self.length = length
        self._ids = np.concatenate([part["ids"] for part in parts])
        self._cases = np.concatenate([part["cases"] for part in parts])
        if not len(self):
            raise SystemExit(f"{folder}: {len(self._ids):,} {kind} tokens, fewer than one block of {length}")

    def __len__(self) -> int:
        return (len(self._ids) - 1) // self.length

    def epoch(self, seed: str, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(ids, cases), each (batch, length + 1), over all whole batches, in an order that `seed` decides."""
        order = np.random.default_rng([ord(char) for char in seed]).permutation(len(self))
        for first in range(0, max(1, len(order) - batch + 1), batch):
            yield self[order[first : first + batch]]

    def __getitem__(self, numbers: Any) -> tuple[Tensor, Tensor]:
        places = np.asarray(numbers)[:, None] * self.length + np.arange(self.length + 1)
        ids, cases = self._ids[places].astype(np.int64), self._cases[places].astype(np.int64)
        return torch.from_numpy(ids), torch.from_numpy(cases)


def _read(folder: Path, shard: dict[str, Any]) -> dict[str, Any]:
    content = (folder / shard["file"]).read_bytes()
    if hashlib.sha256(content).hexdigest() != shard["sha256"]:
        raise SystemExit(f"{folder / shard['file']}: damaged, its sha-256 is not the manifest's; prepare it again")
    return load_file(folder / shard["file"])
