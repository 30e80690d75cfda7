"""Paths, folders, globs and store URIs -> the input files, in a fixed order.

Deliberately knows nothing of columns. Every byte nerx reads of an input goes through :meth:`InputFile.open` or
`InputFile.filesystem`, so that an object store is another pyarrow filesystem and not another code path.
"""

import glob
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, NoReturn

from ..errors import CorpusError
from ..naming import require_unicode
from .compression import CODECS, decompressed, without_codec
from .lake import Partition, partition_of, require_no_store_table, require_no_table
from .prefix import fixed_part, has_magic, match, translate, walk
from .store import StorePath, is_uri, reason, store_errors

if TYPE_CHECKING:
    from pyarrow import fs

Format = Literal["parquet", "jsonl", "csv", "text"]

SUFFIXES: dict[str, Format] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "text",
}
"""What is looked for in folders and globs; all but Parquet may be compressed, and say so by one suffix more."""

OUTPUT_SUFFIX = ".nerx.parquet"
"""What nerx writes by default; left out of folders and globs, so that a second run does not read the first's output."""

READ_ERRORS = (OSError, EOFError, zlib.error)
"""What :meth:`InputFile.open` and reading from it may raise: a disk's and a damaged archive's errors."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file as it was when it was listed: `path` as the user wrote or would write it, `size` in bytes.

    `place` is where it lies when that is an object store; `path` is then its URI without credentials. `partition` are
    columns that the names of its folders add.
    """

    path: str
    format: Format
    size: int
    mtime_ns: int
    place: StorePath | None = None
    partition: Partition = ()

    @property
    def filesystem(self) -> "fs.FileSystem":
        from pyarrow import fs

        return self.place.filesystem if self.place else fs.LocalFileSystem()

    @property
    def location(self) -> str:
        """What `filesystem` calls it."""
        return self.place.path if self.place else self.path

    def open(self) -> BinaryIO:
        """The content as seekable bytes, decompressed where the name says so. Raises READ_ERRORS."""
        return decompressed(self.path, lambda: self.filesystem.open_input_file(self.location))

    def require_unchanged(self) -> None:
        """Raises CorpusError when the file is no longer the one that was listed."""
        try:
            size, mtime_ns = _state(self.place or Path(self.path))
        except store_errors() as error:
            raise CorpusError(f"{self.path}: went away during the run ({reason(error)})") from error
        if (size, mtime_ns) != (self.size, self.mtime_ns):
            raise CorpusError(f"{self.path}: changed during the run ({self.size:,} bytes when it began, {size:,} now)")


def list_files(paths: Sequence[str | Path | InputFile], left_out: list[str] | None = None) -> tuple[InputFile, ...]:
    """Expand `paths` in their order; a folder or prefix (recursive) or a glob becomes its files sorted by path.

    A file that is listed already stays as it is. A folder gives the files with a known suffix; names that begin with
    `.` or `_` and `*.nerx.parquet` are left out. `left_out` hears of what else lies there and is not read: files of
    other kinds, and links to folders. A path that is named outright may also be a `.json` file of one object a line.
    Raises CorpusError for a path that does not exist or yields nothing, an unknown suffix, and a file
    given twice; InputError for a URI of an unknown form.
    """
    if not paths:
        raise CorpusError("no input given: name at least one file, folder or glob")
    others: list[str] = [] if left_out is None else left_out
    found: list[InputFile] = []
    for path in paths:
        found += [path] if isinstance(path, InputFile) else _input_files(os.fspath(path), others)
    origins: dict[str, str] = {}
    for file in found:
        require_unicode(file.path, CorpusError)
        first = origins.setdefault(file.path if file.place else os.path.realpath(file.path), file.path)
        if first is not file.path:
            raise CorpusError(f"{file.path}: given twice (also as {first}); its rows would come out twice")
    return tuple(found)


def reads_back(paths: Sequence[str], written: Path) -> str | None:
    """The one of `paths`, a folder or a glob, in which a later run would find a file that is `written` now."""
    if not _is_known(written):
        return None
    for name in paths:
        if is_uri(name):
            continue
        root, place = Path(os.path.realpath(name)), Path(os.path.realpath(written))
        if root.is_dir():
            if place.is_relative_to(root) and _is_visible(place.relative_to(root)):
                return name
        elif glob.has_magic(name):
            wanted = re.compile(translate(os.path.abspath(name)), re.DOTALL)  # noqa: PTH100 (its links are its own)
            place = written.absolute()
            for found in (place, *place.parents):
                if wanted.fullmatch(str(found)) and _is_visible(place.relative_to(found)):
                    return name
    return None


def format_of(path: Path) -> Format | None:
    """The format that the suffix tells, None when it tells none."""
    plain = without_codec(path.name)
    known = SUFFIXES.get(Path(plain).suffix.lower())
    return None if known == "parquet" and plain != path.name else known


def _input_files(name: str, others: list[str]) -> list[InputFile]:
    if not is_uri(name):
        paths, root = _expand(name, others), _root(name)
        require_no_table([path.absolute() for path in paths], Path(root))
        return [_input_file(path, root) for path in paths]
    place = StorePath.parse(name)
    try:
        return [
            _input_object(place.at(info.path), info, fixed_part(place.path)) for info in _expand_store(place, others)
        ]
    except store_errors() as error:
        raise CorpusError(f"{place}: cannot be read ({reason(error)})") from error


def _root(name: str) -> str:
    """The folder that `name` names, or the one that holds all that it names."""
    path = os.path.abspath(name)  # noqa: PTH100 (a link's own folders are its partition)
    if os.path.isdir(path):  # noqa: PTH112
        return path
    return os.path.dirname(path) if os.path.isfile(path) else fixed_part(path)  # noqa: PTH113, PTH120


def _input_file(path: Path, root: str) -> InputFile:
    known = _known_format(str(path))
    try:
        size, mtime_ns = _state(path)
        with path.open("rb"):
            pass
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from error
    partition = partition_of(os.path.abspath(path), root)  # noqa: PTH100
    return InputFile(str(path), known, size, mtime_ns, partition=partition)


def _input_object(place: StorePath, info: "fs.FileInfo", root: str) -> InputFile:
    size, mtime_ns = _object_state(info)
    return InputFile(place.uri, _known_format(place.uri), size, mtime_ns, place, partition_of(place.path, root))


def _known_format(path: str) -> Format:
    known: Format | None = "jsonl" if without_codec(path).lower().endswith(".json") else format_of(Path(path))
    if known is None:
        raise CorpusError(
            f"{path}: unknown kind of file; nerx reads {', '.join(SUFFIXES)} (all but Parquet also with "
            f"{', '.join(CODECS)})"
        )
    return known


def _state(place: StorePath | Path) -> tuple[int, int]:
    """Size in bytes and time of the last change in ns. Raises `store_errors`."""
    if isinstance(place, Path):
        state = place.stat()
        return state.st_size, state.st_mtime_ns
    info = place.info()
    if not info.is_file:
        raise FileNotFoundError("no such object")
    return _object_state(info)


def _object_state(info: "fs.FileInfo") -> tuple[int, int]:
    # In whole seconds: a store tells more of a second in a listing than about a single object.
    return info.size, (info.mtime_ns or 0) // 1_000_000_000 * 1_000_000_000


def _expand(name: str, others: list[str]) -> list[Path]:
    path = Path(name)
    if path.is_file():
        return [path]
    if path.is_dir():
        return _known_files(path, others) or _refuse(f"{name}: no file with a known suffix in this folder")
    if glob.has_magic(name):
        matches = sorted(map(Path, glob.glob(name, recursive=True)))  # noqa: PTH207 (Path.glob takes no absolute one)
        # `**` lists a folder and then its content: the folder's own files come up again.
        files = dict.fromkeys(file for match in matches for file in _known_files(match, others))
        seen = "no file with a known suffix" if matches else "nothing"
        return list(files) or _refuse(f"{name}: the pattern matches {seen}")
    raise CorpusError(f"{name}: {'neither a file nor a folder' if path.exists() else 'no such file or folder'}")


def _expand_store(place: StorePath, others: list[str]) -> "list[fs.FileInfo]":
    info = place.info()
    if info.is_file:
        require_no_store_table([], [], place.at(place.path.rpartition("/")[0]))
        return [info]
    from pyarrow import fs

    is_prefix = info.type == fs.FileType.Directory
    if not is_prefix and not has_magic(place.path):
        raise CorpusError(f"{place}: no such object or prefix")
    root = place if is_prefix else place.at(fixed_part(place.path))
    objects = root.below()
    matched = walk(place, objects) if is_prefix else match(place, objects)
    found = []
    for info in matched:
        if _is_known(Path(info.base_name)):
            found.append(info)
        elif not _is_left_out(info.base_name):
            others.append(place.at(info.path).uri)
    require_no_store_table([str(info.path) for info in found], [str(info.path) for info in objects], root)
    return found or _refuse(f"{place}: no object with a known suffix {'below this' if is_prefix else 'matches'}")


def _refuse(what: str) -> NoReturn:
    raise CorpusError(f"{what} ({', '.join(SUFFIXES)})")


def _known_files(path: Path, others: list[str]) -> list[Path]:
    """`path` itself or, for a folder, everything below it, sorted; only what nerx knows and did not write.

    What it does not know goes to `others`.
    """
    files = sorted(_walk(path, others)) if path.is_dir() else [path]
    others += [str(file) for file in files if not (_is_known(file) or _is_left_out(file.name))]
    return [file for file in files if _is_known(file)]


def _is_known(path: Path) -> bool:
    return format_of(path) is not None and not path.name.endswith(OUTPUT_SUFFIX)


def _is_visible(path: Path) -> bool:
    return not any(part.startswith((".", "_")) for part in path.parts)


def _is_left_out(name: str) -> bool:
    """Whether a name says that it is none of the inputs: nothing has to be told of it."""
    return name.startswith((".", "_")) or name.endswith(OUTPUT_SUFFIX)


def _walk(folder: Path, others: list[str]) -> Iterator[Path]:
    """The visible files below a folder. Links to folders go to `others`: one of them may lead back to where it is."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        others += [str(link) for name in folders if (link := Path(parent, name)).is_symlink()]
        yield from (Path(parent, name) for name in names if not name.startswith((".", "_")))
