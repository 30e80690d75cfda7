"""An output in an object store: what may stand there already, and how finished files get there.

A store has no rename. An object appears whole when its last byte has arrived, so one file needs no more than an upload.
Of a prefix, parts are sent in their order when all of them are finished, and `_SUCCESS`, which names the run and
counts its parts, is sent last: parts without it are no finished output.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from ..errors import OutputError
from ..origin import RUN
from ..reading.store import StorePath, reason, store_errors
from ..tally import Tally
from .fingerprint import Run
from .part import file_facts, tally_in
from .place import is_part, part_files, require_own_name

MARKER = "_SUCCESS"
"""Written last. The name is Hadoop's: readers leave it out, and schedulers know how to wait for it."""

UPLOADS = 3
"""Of one file, until it is there; each request of each is tried again by the store's client as well."""

_FOOTER_END = 8
"""A Parquet file ends with the length of its footer and four letters."""


@dataclass(frozen=True, slots=True)
class StoreOutput:
    """`place` is where the output goes, `work` the local folder in which it is built before that.

    See :class:`~.output.Output`. Lock and staging are local, so a killed run goes on only on the machine that began it.
    What guards against another machine that writes the same URI are looks at what is there: before the run, before the
    upload, and after it.
    """

    place: StorePath
    work: Path

    def __str__(self) -> str:
        return self.place.uri

    @property
    def home(self) -> Path:
        """The local name beside which pieces are staged; nothing is ever at that name itself.

        It begins with a digest of the URI, so that two outputs never share a folder.
        """
        identity = json.dumps([self.place.uri, self.place.options])
        digest = hashlib.blake2b(identity.encode(), digest_size=6).hexdigest()
        return self.work / f"{digest}-{self.place.name}"

    @property
    def is_single(self) -> bool:
        """Whether it is one object and not a prefix of parts."""
        return self.place.name.lower().endswith(".parquet")

    def check(self, *, may_exist: bool, inputs: Iterable[str] = ()) -> None:
        require_own_name(self)
        for path in inputs:
            if path == self.place.uri or path.startswith(self.place.uri + "/"):
                raise OutputError(f"{self}: is or holds the input {path}; choose another output")
        with telling(self):
            kind = self.place.info().type
            if kind == (fs.FileType.Directory if self.is_single else fs.FileType.File):
                seen = "a prefix of objects" if self.is_single else "an object"
                raise OutputError(f"{self}: is {seen}; a .parquet name makes an object, any other a prefix of parts")
            found = self.objects()
        others = [name for name in found if name != MARKER and not is_part(name)]
        if others and not self.is_single:
            raise OutputError(f"{self}: holds {min(others)!r}, which nerx did not write; choose another prefix")
        if found and not may_exist:
            raise OutputError.exists_already(self)

    def objects(self) -> dict[str, int]:
        """Name below the prefix -> size in bytes of all that is there; the object itself as "". Raises `store_errors`.

        Empty objects are left out: Azure shows one from the moment an upload begins.
        """
        if self.is_single:
            info = self.place.info()
            found = {"": info.size} if info.is_file else {}
        else:
            start = len(self.place.path) + 1
            found = {str(info.path)[start:]: info.size for info in self.place.below()}
        return {name: size for name, size in found.items() if size}

    def part(self, name: str) -> StorePath:
        """The object that `objects` calls `name`."""
        return self.place / name if name else self.place

    def require_free(self, run: Run) -> None:
        """Parts of this run may be there: those of an upload that was cut off."""
        with telling(self):
            found = self.objects()
            if found and not self._belongs_to(run, found):
                raise OutputError.exists_already(self)

    def is_finished(self, run: Run) -> bool:
        with telling(self):
            found = self.objects()
            if self.is_single:
                return bool(found) and self._belongs_to(run, found)
            return MARKER in found and _read_marker(self.place / MARKER).get("run") == run.digest

    def tally(self, run: Run) -> Tally:  # noqa: ARG002  # all of it is the run's
        with telling(self):
            parts = [self.part(name) for name in sorted(self.objects().keys() - {MARKER})]
            try:
                return sum((tally_in(_facts(part)) for part in parts), Tally())
            except (TypeError, ValueError) as error:
                raise OutputError(f"{self}: not an output of nerx ({reason(error)})") from error

    def put(self, built: Path) -> None:
        """Send what is not there already, and of a folder the marker last. Raises `store_errors`."""
        if self.is_single:
            _put(built, self.place, self.objects().get("", 0))
        else:
            self._put_folder(built)

    def _belongs_to(self, run: Run, names: Iterable[str]) -> bool:
        """Whether all objects of these names were written by `run`. Raises `store_errors`."""
        return all(run_of(self.part(name)) == run.digest for name in names if name != MARKER)

    def _put_folder(self, folder: Path) -> None:
        before = self.objects()
        marker = self.place / MARKER
        if MARKER in before:  # of the output that is being replaced: from here on it is not whole
            self.place.filesystem.delete_file(marker.path)
        parts = part_files(folder)
        for part in parts:
            _put(part, self.place / part.name, before.get(part.name, 0))
        sizes = {part.name: part.stat().st_size for part in parts}
        for name in before.keys() - sizes.keys() - {MARKER}:
            self.place.filesystem.delete_file((self.place / name).path)
        if self.objects() != sizes:
            raise OSError("other objects came to be there meanwhile; does another machine write the same output?")
        content = json.dumps({"run": file_facts(parts[0])[RUN], "parts": len(parts)}).encode()
        with self.place.filesystem.open_output_stream(marker.path) as stream:
            stream.write(content)


@contextmanager
def telling(output: StoreOutput) -> Iterator[None]:
    """Turns a store's error into an OutputError of one line."""
    try:
        yield
    except store_errors() as error:
        raise OutputError(f"{output}: cannot be reached ({reason(error)})") from error


def run_of(place: StorePath) -> str | None:
    """The run that wrote a Parquet object; None for any other object. Raises OSError."""
    try:
        return _facts(place).get(RUN)
    except pa.ArrowException:
        return None


def _facts(place: StorePath) -> dict[str, str]:
    return file_facts(place.path, place.filesystem)


def _put(path: Path, place: StorePath, size_there: int) -> None:
    """Send one file unless the object there is the same, and look at what has arrived."""
    if _same(path, place, size_there):
        return
    for attempt in range(UPLOADS, 0, -1):
        try:
            _send(path, place)
        except store_errors():
            # The reply to the last request may be what was lost: then the object is there, and its upload is unknown.
            if attempt == 1 and not _same(path, place, place.info().size):
                raise
        if _same(path, place, place.info().size):
            return
    raise OSError(f"what arrived as {place} is not what was sent; does another machine write it too?")


def _send(path: Path, place: StorePath) -> None:
    """Send a file in one write, which Arrow sends in parts. Raises `store_errors`.

    One, because a stream that is left, for whatever reason, is closed, and closing publishes what was written so far;
    and not `copy_files`, which returns as if nothing had happened when the last part is refused (tried on pyarrow 26).
    """
    with pa.memory_map(str(path)) as file, place.filesystem.open_output_stream(place.path, compression=None) as stream:
        stream.write(file.read_buffer())


def _same(path: Path, place: StorePath, size_there: int | None) -> bool:
    """Whether an object is the Parquet file at `path`: of the same size and the same footer.

    The footer holds the run, place, size and statistics of every column chunk.
    """
    size = path.stat().st_size
    if size_there != size:
        return False
    with path.open("rb") as file:
        file.seek(size - _FOOTER_END)
        count = int.from_bytes(file.read(4), "little") + _FOOTER_END
        file.seek(size - count)
        return place.tail(size, count) == file.read()


def _read_marker(place: StorePath) -> dict[str, object]:
    """Empty for a marker that nerx did not write. Raises `store_errors`."""
    with place.filesystem.open_input_stream(place.path) as stream:
        content = stream.read()
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
