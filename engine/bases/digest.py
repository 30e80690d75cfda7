"""What makes two bases the same: one digest over everything that decides on a base's output."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import AdapterError
from .memory import remembered

IDENTITY = "base.json"
"""Written beside a converted base: where it is from, its digest, and the digests of its files."""

LEARNED = ("priming/adapter_config.json", "priming/adapter_model.safetensors", "drafter.safetensors")
"""Files of a base folder that hold what the tag stage learned."""

INDEX = "model.safetensors.index.json"
"""Names the files that the weights are spread over."""

_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_VOCABULARY = ("vocab.json", "merges.txt", "vocab.txt", "tokenizer.model", "spiece.model")
"""What transformers makes a tokenizer from where there is no `tokenizer.json`."""

PATTERNS = ("config.json", *_TOKENIZER, *_VOCABULARY, INDEX, "model*.safetensors", *LEARNED)
"""All files that may decide, as a hub is asked for them."""

_SAMPLE = 1 << 20


def base_digest(folder: Path) -> str:
    """Digest of a base folder, as hex. The name of the folder and files that decide on nothing do not count.

    It covers every byte of config, tokenizer, weights, drafter and priming. Large files are read once and then
    remembered (see :mod:`.memory`). A converted base (see :mod:`.convert`) carries the digest of what it was made from,
    so that two machines whose libraries write other JSON agree; its drafter and priming count with it.
    Raises AdapterError when the files of a converted base are not those that nerx wrote.
    """
    told = identity(folder)
    if told is None:
        return combined(*(part for name in _deciding(folder) for part in (name, file_digest(folder / name))))
    for name, expected in _noted_files(folder).items():
        path = folder / name
        if not path.is_file() or file_digest(path) != expected:
            raise AdapterError(
                f"{path} is damaged: it is not what nerx wrote there; remove the folder {folder} and run it again"
            )
    return primed_digest(told, [folder / name for name in LEARNED])


def earlier_digest(folder: Path) -> str:
    """The digest that an earlier nerx gave to a base folder, and that its adapters still carry.

    Of each weights file it covers the size, the first MiB and the last one.
    """
    told = identity(folder)
    if told is not None:
        return primed_digest(told, [folder / name for name in LEARNED])
    digest = hashlib.sha256()
    for name in ("config.json", "tokenizer.json", *LEARNED):
        if (folder / name).is_file():
            digest.update((folder / name).read_bytes())
    for path in sorted(folder.glob("model*.safetensors")):
        size = path.stat().st_size
        with path.open("rb") as file:
            digest.update(f"{path.name}:{size}:".encode() + file.read(_SAMPLE))
            file.seek(max(0, size - _SAMPLE))
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()


def content_digests(folder: Path) -> dict[str, str]:
    """The digests of the files in a base folder that decide on its output, by name; but for those in LEARNED."""
    return {name: file_digest(folder / name) for name in _deciding(folder) if name not in LEARNED}


def identity(folder: Path) -> str | None:
    """The digest of what a converted base was made from, as it tells; None where a folder is no converted base."""
    told = _told(folder).get("digest")
    return told if isinstance(told, str) else None


def primed_digest(source: str, learned: Iterable[Path]) -> str:
    """Digest of a base made from `source` with those files of `learned` that exist; without any, that of `source`."""
    digests = [file_digest(path) for path in learned if path.is_file()]
    return combined(source, *digests) if digests else source


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex. A large file that has not changed since is not read again."""
    return remembered(path, _sha256)


def combined(*parts: str) -> str:
    """One digest of several strings, order included."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _deciding(folder: Path) -> Iterator[str]:
    """The files of a folder that decide on the output, as they are loaded; those that exist."""
    weights = {path.name for path in folder.glob("model*.safetensors")} | _indexed(folder / INDEX)
    slow = () if (folder / "tokenizer.json").is_file() else _VOCABULARY
    for name in ("config.json", *_TOKENIZER, *slow, INDEX, *sorted(weights), *LEARNED):
        if (folder / name).is_file():
            yield name


def _indexed(index: Path) -> set[str]:
    try:
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()


def _noted_files(folder: Path) -> Mapping[str, str]:
    """What `base.json` says of the files. Nothing where an earlier nerx wrote it: it noted none."""
    files = _told(folder).get("files")
    return files if isinstance(files, dict) else {}


def _told(folder: Path) -> Mapping[str, Any]:
    try:
        told = json.loads((folder / IDENTITY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
