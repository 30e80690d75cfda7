"""What makes two bases the same: one digest over everything that decides on a base's output."""

import hashlib
import json
from pathlib import Path

IDENTITY = "base.json"
"""Written beside a converted base: where it is from and its digest."""

_WHOLE = ("config.json", "tokenizer.json", "drafter.safetensors", "priming/adapter_model.safetensors")
_SAMPLE = 1 << 20


def base_digest(folder: Path) -> str:
    """Digest of a base folder, as hex.

    A converted base (see :mod:`.convert`) carries the digest of what it was made from, so that two machines whose
    libraries write other JSON agree. Else config, tokenizer, drafter and priming count whole, and of each weights file
    its size, its start and its end: a 7 B base would take longer to hash than to load.
    """
    told = identity(folder)
    if told is not None:
        return told
    digest = hashlib.sha256()
    for name in _WHOLE:
        if (folder / name).is_file():
            digest.update((folder / name).read_bytes())
    for path in sorted(folder.glob("model*.safetensors")):
        size = path.stat().st_size
        with path.open("rb") as file:
            digest.update(f"{path.name}:{size}:".encode() + file.read(_SAMPLE))
            file.seek(max(0, size - _SAMPLE))
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()


def identity(folder: Path) -> str | None:
    """The digest that a converted base tells of itself; None where a folder is no converted base."""
    try:
        told = json.loads((folder / IDENTITY).read_text(encoding="utf-8"))["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return told if isinstance(told, str) else None


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combined(*parts: str) -> str:
    """One digest of several strings, order included."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
