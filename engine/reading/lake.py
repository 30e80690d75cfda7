"""Folders that say more than their files: Hive partitions, and tables whose log decides which files count.

Deliberately knows nothing of formats: a partition's columns come beside those of any file.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote

from ..errors import CorpusError
from .store import StorePath, store_errors

if TYPE_CHECKING:
    import pyarrow as pa

    from .source import Cut, Source

Partition = tuple[tuple[str, str | None], ...]
"""Names and values of the folders `name=value` above a file, the outermost first."""

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"

LOGS = {"_delta_log": "Delta", ".hoodie": "Hudi"}
"""What the folder of a table holds."""

_ICEBERG = re.compile(r"(.*)/metadata/[^/]*\.metadata\.json", re.DOTALL)

_WAYS = {
    "Delta": "deltalake.DeltaTable({0!r}).to_pyarrow_table() in Python, or delta_scan({0!r}) in DuckDB",
    "Iceberg": "iceberg_scan({0!r}) in DuckDB, or Spark",
    "Hudi": "spark.read.format('hudi').load({0!r}) in Spark",
}


def partition_of(path: str, root: str) -> Partition:
    """The partition of a file: of the folders below `root`, and of an unbroken row of `name=value` above them.

    Names and values are decoded as Hive and Spark encode them. Raises CorpusError for a name that is not UTF-8.
    """
    folders = list(PurePosixPath(path).parent.parts)
    depth = min(len(PurePosixPath(root).parts), len(folders))
    while depth and "=" in folders[depth - 1]:
        depth -= 1
    pairs = [folder.partition("=") for folder in folders[depth:] if "=" in folder.lstrip("=")]
    try:
        "".join(name + value for name, _, value in pairs).encode()
    except UnicodeEncodeError as error:
        raise CorpusError(f"{path!r}: the name of a partition folder is not UTF-8; rename the folder") from error
    found = {_decoded(name): None if value == HIVE_NULL else _decoded(value) for name, _, value in pairs}
    return tuple(found.items())


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:  # a plain `%`, then
        return text


def require_no_table(files: Sequence[Path], root: Path) -> None:
    """Raises CorpusError when one of `files`, all found below `root`, belongs to a table that has a log."""
    parents = dict.fromkeys(file.parent for file in files)
    for folder in dict.fromkeys(Path(above) for parent in parents for above in _above(parent, root)):
        kind = next((kind for name, kind in LOGS.items() if (folder / name).is_dir()), None)
        if kind is None and next((folder / "metadata").glob("*.metadata.json"), None):
            kind = "Iceberg"
        if kind:
            raise _refusal(str(folder), kind)


def require_no_store_table(found: Sequence[str], objects: Iterable[str], root: StorePath) -> None:
    """The same for the keys `found` below the prefix `root`, where `objects` are all keys, hidden ones included."""
    tables = {table: kind for key in objects for table, kind in _tables_in(key)}
    for table, kind in tables.items():
        if any(key.startswith(f"{table}/") for key in found):
            raise _refusal(root.at(table).uri, kind)
    for folder in map(str, _above(PurePosixPath(root.path), PurePosixPath(root.path))):
        if folder != "." and (kind := _store_kind(root.at(folder))):
            raise _refusal(root.at(folder).uri, kind)


def _tables_in(key: str) -> Iterator[tuple[str, str]]:
    for name, kind in LOGS.items():
        if f"/{name}/" in key:
            yield key.partition(f"/{name}/")[0], kind
    if iceberg := _ICEBERG.fullmatch(key):
        yield iceberg[1], "Iceberg"


def _above(folder: PurePath, root: PurePath) -> Iterator[PurePath]:
    """`folder` and what is above it up to `root`; and above that, the folders that a table puts between."""
    while folder != root and root in folder.parents:
        yield folder
        folder = folder.parent
    yield folder
    while ("=" in folder.name or folder.name == "data") and folder.parent != folder:
        folder = folder.parent
        yield folder


def _store_kind(folder: StorePath) -> str:
    """The kind of a table, empty for a plain prefix."""
    from pyarrow import fs

    try:
        infos = folder.filesystem.get_file_info([f"{folder.path}/{name}" for name in LOGS])
        for info, kind in zip(infos, LOGS.values(), strict=True):
            if info.type == fs.FileType.Directory:
                return kind
        below = folder.filesystem.get_file_info(fs.FileSelector(f"{folder.path}/metadata", allow_not_found=True))
        return "Iceberg" if any(info.path.endswith(".metadata.json") for info in below) else ""
    except store_errors():
        return ""  # a key may open one prefix and not what is above it


def _refusal(folder: str, kind: str) -> CorpusError:
    return CorpusError(
        f"{folder}: a {kind} table, whose log says which rows of its files still count; nerx does not read the log. "
        f"Write the rows to Parquet first, with {_WAYS[kind].format(folder)}"
    )


@dataclass(frozen=True, slots=True)
class Partitioned:
    """The rows of `source`, with the values of its partition as columns of strings behind its own."""

    source: "Source"
    partition: Partition

    @classmethod
    def around(cls, source: "Source", partition: Partition) -> "Source":
        """`source` itself where its file has all these columns already."""
        own = {name.casefold() for name in source.schema.names}
        added = tuple((name, value) for name, value in partition if name.casefold() not in own)
        return cls(source, added) if added else source

    @property
    def path(self) -> str:
        return self.source.path

    @property
    def kind(self) -> str:
        return self.source.kind

    @property
    def cuts(self) -> "tuple[Cut, ...]":
        return self.source.cuts

    @property
    def digest(self) -> str:
        return self.source.digest

    @property
    def schema(self) -> "pa.Schema":
        return self._with_fields(self.source.schema)

    @property
    def evidence(self) -> "pa.Schema":
        return self._with_fields(self.source.evidence)

    def merge(self, known: "pa.Schema") -> "pa.Schema":
        import pyarrow as pa

        names = dict(self.partition)
        if missing := [name for name in names if name not in known.names]:
            raise ValueError(f"lies in a partition folder {missing[0]!r} besides")
        for field in known:
            if field.name in names and field.type != pa.string():
                raise ValueError(f"column {field.name!r} is string (the name of a folder), not {field.type}")
        theirs = pa.schema([field for field in known if field.name not in names], metadata=known.metadata)
        agreed = self.source.merge(theirs)
        fields = {field.name: field for field in agreed}
        ordered = [known.field(name) if name in names else fields.pop(name) for name in known.names]
        return pa.schema([*ordered, *fields.values()], metadata=agreed.metadata)

    def batches(self, cut: "Cut", schema: "pa.Schema", batch_rows: int) -> "Iterator[pa.RecordBatch]":
        import pyarrow as pa

        names = dict(self.partition)
        theirs = pa.schema([field for field in schema if field.name not in names], metadata=schema.metadata)
        for batch in self.source.batches(cut, theirs, batch_rows):
            columns = [
                pa.repeat(pa.scalar(names[name], pa.string()), batch.num_rows) if name in names else batch.column(name)
                for name in schema.names
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=schema.with_metadata(batch.schema.metadata))

    def _with_fields(self, schema: "pa.Schema") -> "pa.Schema":
        import pyarrow as pa

        for name, _ in self.partition:
            schema = schema.append(pa.field(name, pa.string()))
        return schema
