"""An output folder that grows with its inputs: one part an input file, the rest left untouched.

Locked while open. A part is published by one rename, which also replaces the part of a changed input; no reader ever
sees half a part, or two versions of an input. The manifest follows; see there why it cannot lie.
With `overwrite` all this happens in a folder beside the output, which takes its place at the end.
Opens no part and no input that is as it was.
"""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import OutputError
from ..origin import Origin
from ..reading.listing import InputFile
from .atomic import TEMPORARY, sync
from .increment import Increment, compare
from .lock import OutputLock
from .manifest import Manifest, PartRecord, manifest_file
from .place import check_place, has_content, is_single, lock_file, old_folder, part_name, part_number


class GrowingOutput:
    """The folder `out`, open for one run. Use as a context manager, then `compare`, then a sink, or `finish` alone.

    All parts must have in common what decides in `origin`; a text column of None is any. `prune` drops the parts of
    inputs that are gone. Raises OutputError, and OutputLockedError on entry while another run holds the output.

    No :class:`~.output.Output`: such a place takes the result of one run, whole, and knows it by the run's fingerprint.
    This folder takes an input whenever it is whole, from whatever run, and knows it by the input's content; so it is
    locked and looked at before there is a corpus, which is what it shows to be new.
    """

    def __init__(self, out: Path, origin: Origin, *, overwrite: bool = False, prune: bool = False) -> None:
        if is_single(out):
            raise OutputError(f"{out}: --incremental needs a folder, which gets a part for each input; name one")
        self.out = out
        self._origin = origin
        self._overwrite = overwrite
        self._prune = prune
        self._lock = OutputLock(lock_file(out), out)
        self._parts: dict[str, PartRecord] = {}
        self._noted: Manifest | None = None
        self._gone: tuple[PartRecord, ...] = ()
        self.folder = out
        """Where parts go: `out`, or what will take its place."""

    @property
    def staging(self) -> Path:
        """Holds what is not finished, a folder an input."""
        return self.out.with_name(f".{self.out.name}.nerx-growing")

    @property
    def parts(self) -> tuple[PartRecord, ...]:
        return tuple(self._parts.values())

    @property
    def text_column(self) -> str | None:
        """The column that the parts were made from, else the one asked for."""
        return self._noted.origin.text_column if self._noted and self._noted.origin else self._origin.text_column

    def __enter__(self) -> "GrowingOutput":
        with self._reporting():
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire_for(self._open)
        return self

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    def compare(self, files: Sequence[InputFile]) -> Increment:
        """What is new among `files`. Raises CorpusError, and OutputError when the output is or holds one of them."""
        check_place(self.out, may_exist=True, inputs=[file.path for file in files])
        increment = compare(files, self.parts)
        self._parts.update((part.name, part) for part in increment.kept)
        self._gone = increment.gone
        return increment

    def new_names(self) -> Iterable[str]:
        """Names for parts of new inputs, in order: after all that were ever here, as far as can be seen."""
        number = max((part_number(name) for name in self._parts), default=-1)
        while True:
            number += 1
            yield part_name(number)

    def add(self, origin: Origin, parts: Iterable[PartRecord]) -> None:
        """Note parts that have been published."""
        sync(self.folder)
        self._parts.update((part.name, part) for part in parts)
        self._write(origin)

    def finish(self) -> None:
        """Drop what is to be dropped, note what is there, and tidy up; with `overwrite`, take the output's place."""
        with self._reporting():
            for part in self._gone if self._prune else ():
                (self.folder / part.name).unlink(missing_ok=True)
                self._parts.pop(part.name, None)
            if self._noted and self._noted.origin:
                self._write(self._noted.origin)
            if self.folder != self.out:
                self._swap()
            if self.staging.exists():
                shutil.rmtree(self.staging)

    def _open(self) -> None:
        self._finish_swap()
        index = manifest_file(self.out)
        index.with_name(index.name + TEMPORARY).unlink(missing_ok=True)
        check_place(self.out, may_exist=True)
        if self._overwrite and self.out.exists() and has_content(self.out):
            self.folder = self.staging / "whole"
            try:
                found = _read(self.folder)
            except OutputError:
                found = None
            if found is None or self._changes(found):
                shutil.rmtree(self.folder, ignore_errors=True)
                found = Manifest(None, ())
        else:
            found = _read(self.out)
            if changes := self._changes(found):
                raise OutputError(
                    f"{self.out}: was made differently ({'; '.join(changes)}); run as before to add to it, use "
                    "--overwrite to extract all inputs anew, or name another --out"
                )
        self._noted = found
        self._parts = {part.name: part for part in found.parts}

    def _changes(self, found: Manifest) -> list[str]:
        return found.origin.changes(self._origin) if found.origin else []

    def _write(self, origin: Origin) -> None:
        now = Manifest(origin, tuple(sorted(self._parts.values(), key=lambda part: part_number(part.name))))
        if now != self._noted or not manifest_file(self.folder).exists():
            now.write(self.folder)
            self._noted = now

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"{self.out}: cannot be written ({error.strerror or error})") from error

    def _swap(self) -> None:
        # The manifest first: parts without one are asked themselves, with another's they would contradict it.
        manifest_file(self.out).unlink(missing_ok=True)
        self.out.rename(old_folder(self.out))
        self._finish_swap()

    def _finish_swap(self) -> None:
        """Go on where a run may have been killed: the old folder was moved away and the new one is to come."""
        whole, old = self.staging / "whole", old_folder(self.out)
        if not old.exists():
            return
        if not self.out.exists():
            # Two folders cannot be exchanged in one step. Without a new one, another kind of run moved the old one.
            (whole if whole.exists() else old).rename(self.out)
            sync(self.out.parent)
        if manifest_file(whole).exists():
            manifest_file(whole).replace(manifest_file(self.out))
        # In this order: as long as the old folder is there, the new one is known to be in place.
        shutil.rmtree(self.staging, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _read(folder: Path) -> Manifest:
    def ask(part: Path) -> tuple[Origin, PartRecord]:
        from .part import read_part

        return read_part(part)

    return Manifest.read(folder).settled(folder, ask)
