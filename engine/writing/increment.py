"""What is new among the inputs of a growing output, told by content. Reads inputs, and only those that may differ."""

import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from ..errors import CorpusError
from ..reading.compression import READ_BYTES
from ..reading.listing import InputFile
from ..reading.store import reason
from .manifest import InputState, PartRecord


@dataclass(frozen=True, slots=True)
class Work:
    """An input to extract from, and the part whose rows its own replace; None for a new input."""

    file: InputFile
    state: InputState
    replaces: PartRecord | None = None


@dataclass(frozen=True, slots=True)
class Increment:
    """Inputs compared with the parts that are there.

    `work` is in the order of the inputs. `kept` are the parts that stay, with their input as it is now. `gone` are
    parts whose input is not among the inputs any more.
    """

    work: tuple[Work, ...]
    kept: tuple[PartRecord, ...]
    renamed: int
    gone: tuple[PartRecord, ...]

    @property
    def new(self) -> int:
        return len(self.work) - self.changed

    @property
    def changed(self) -> int:
        return sum(one.replaces is not None for one in self.work)


@dataclass(slots=True)
class _Matching:
    """Parts that no input has claimed yet."""

    parts: tuple[PartRecord, ...]
    free: dict[str, PartRecord] = field(init=False)
    by_path: dict[str, list[str]] = field(init=False)
    by_digest: dict[str, list[str]] = field(init=False)

    def __post_init__(self) -> None:
        self.free = {part.name: part for part in self.parts}
        self.by_path, self.by_digest = defaultdict(list), defaultdict(list)
        for part in self.parts:
            self.by_path[part.input.path].append(part.name)
            self.by_digest[part.input.digest].append(part.name)

    def at(self, path: str) -> Iterator[PartRecord]:
        yield from (self.free[name] for name in self.by_path.get(path, ()) if name in self.free)

    def of(self, digest: str) -> Iterator[PartRecord]:
        yield from (self.free[name] for name in self.by_digest.get(digest, ()) if name in self.free)

    def claim(self, part: PartRecord) -> PartRecord:
        return self.free.pop(part.name)


def compare(files: Sequence[InputFile], parts: Sequence[PartRecord]) -> Increment:
    """Match inputs with parts: by path, size and time without reading; then by content; then by path alone.

    So a renamed input keeps its part, a changed one replaces it, and one that was only touched is left alone.
    Raises CorpusError for an input that cannot be read.
    """
    matching = _Matching(tuple(parts))
    kept: list[PartRecord] = []
    unsure: list[tuple[InputFile, InputState]] = []
    renamed = 0
    for file in files:
        path = absolute(file.path)
        sure = next((part for part in matching.at(path) if part.input.vouches_for(file.size, file.mtime_ns)), None)
        if sure is not None:
            kept.append(matching.claim(sure))
        else:
            unsure.append((file, digested(file)))
    # An input that kept its name comes before one that took over a name: both may have the same content.
    unmatched: list[tuple[InputFile, InputState]] = []
    for file, state in unsure:
        same = next((part for part in matching.at(state.path) if part.input.digest == state.digest), None)
        if same is not None:
            kept.append(replace(matching.claim(same), input=state))
        else:
            unmatched.append((file, state))
    differing: list[tuple[InputFile, InputState]] = []
    for file, state in unmatched:
        moved = next(matching.of(state.digest), None)
        if moved is not None:
            kept.append(replace(matching.claim(moved), input=state))
            renamed += 1
        else:
            differing.append((file, state))
    work = []
    for file, state in differing:
        before = next(matching.at(state.path), None)
        work.append(Work(file, state, before and matching.claim(before)))
    return Increment(tuple(work), tuple(kept), renamed, tuple(matching.free.values()))


def absolute(path: str) -> str:
    """How the manifest calls an input: the same file is found from any working folder. URIs are absolute."""
    return path if "://" in path else os.path.abspath(path)  # noqa: PTH100 (a link's own name is its name)


def digested(file: InputFile) -> InputState:
    """`file` with the digest of its bytes and partition. Raises CorpusError when it cannot be read or changes now."""
    checked = time.time_ns()
    digest = hashlib.blake2b(repr(file.partition).encode() if file.partition else b"", digest_size=16)
    try:
        with file.filesystem.open_input_stream(file.location, compression=None) as stream:
            while block := stream.read(READ_BYTES):
                digest.update(block)
    except OSError as error:
        raise CorpusError(f"{file.path}: cannot be read ({reason(error)})") from error
    file.require_unchanged()
    return InputState(absolute(file.path), file.size, file.mtime_ns, checked, digest.hexdigest())
