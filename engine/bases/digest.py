"""What makes two bases the same: one digest over everything that decides on a base's output."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

IDENTITY = "base.json"
"""Written beside a converted base: where it is from and its digest."""

LEARNED = ("priming/adapter_config.json", "priming/adapter_model.safetensors", "drafter.safetensors")
"""Files of a base folder that hold what the tag stage learned."""

_WHOLE = ("config.json", "tokenizer.json", *LEARNED)
_SAMPLE = 1 << 20


def base_digest(folder: Path) -> str:
    """Digest of a base folder, as hex.

    A converted base (see :mod:`.convert`) carries the digest of what it was made from, so that two machines whose
    libraries write other JSON agree; its drafter and priming count with it. Else config, tokenizer, drafter and priming
    count whole, and of each weights file its size, its start and its end: a 7 B base would take longer to hash than to
    load.
    """
    told = identity(folder)
    if told is not None:
        return primed_digest(told, [folder / name for name in LEARNED])
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
    """The digest of what a converted base was made from, as it tells; None where a folder is no converted base."""
    try:
        told = json.loads((folder / IDENTITY).read_text(encoding="utf-8"))["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return told if isinstance(told, str) else None


def primed_digest(source: str, learned: Iterable[Path]) -> str:
    """Digest of a base made from `source` with those files of `learned` that exist; without any, that of `source`."""
    digests = [file_digest(path) for path in learned if path.is_file()]
    return combined(source, *digests) if digests else source


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combined(*parts: str) -> str:
    """One digest of several strings, order included."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
