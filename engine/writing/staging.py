"""The hidden folder beside an output where finished pieces wait until all are there.

A piece is a Parquet file of consecutive rows of one shard, called `part-<shard>.<first row in it>.parquet`; being
there under that name is its record of completion, and its counts are in its own metadata. `run.json` says which run
the pieces belong to. Nothing here is ever written under its final name: temporary name, fsync, rename, fsync.
"""

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import OutputError
from ..origin import INPUT, RUN, TALLY, Origin, as_metadata, differences, facts_in
from ..reading.source import SHARD_ROWS, group
from ..tally import Tally
from .atomic import TEMPORARY, AtomicFile
from .fingerprint import Fingerprint
from .part import tally_in


@dataclass(frozen=True, slots=True)
class Piece:
    """`rows` finished rows of shard `shard`, from its row `first_row`; `groups` is (rows, bytes) of each row group."""

    path: Path
    shard: int
    first_row: int
    groups: tuple[tuple[int, int], ...]
    tally: Tally
    run: object = None
    """The run that made it, as `_run_of` finds it in its metadata."""

    @property
    def rows(self) -> int:
        return sum(rows for rows, _ in self.groups)


@dataclass(frozen=True, slots=True)
class Staging:
    """Pieces of one run in `folder`, of one `schema`. Can be sent to another process; the lock is the sink's."""

    folder: Path
    schema: pa.Schema

    @property
    def run(self) -> object:
        """The run that the pieces belong to; None where the schema tells of none."""
        return _run_of(facts_in(self.schema.metadata))

    @property
    def owner(self) -> Path:
        """A file that every run which takes the folder over fills anew: by it worker processes know whose they are."""
        return self.folder / "owner"

    def prepare(self, fingerprint: Fingerprint, *, overwrite: bool) -> None:
        """Make the folder, or take it over from a run of the same fingerprint.

        One of another fingerprint is emptied with `overwrite` and otherwise an OutputError that names what changed.
        """
        record = self.folder / "run.json"
        if record.exists():
            changes = differences(_read_record(record), json.loads(json.dumps(fingerprint)))
            if changes and not overwrite:
                raise OutputError(
                    f"{self.folder} holds an unfinished run that differs ({'; '.join(changes)}); run as before to "
                    "finish it, or use --overwrite to drop its finished part and begin again"
                )
            if changes:
                self.remove()
        self.folder.mkdir(exist_ok=True)
        self.owner.write_text(uuid4().hex)
        for leftover in self.folder.glob("*" + TEMPORARY):
            leftover.unlink()
        if not record.exists():
            text = json.dumps(fingerprint, ensure_ascii=False, indent=1)
            with AtomicFile(record) as temporary:
                temporary.write_text(text, encoding="utf-8", errors="surrogateescape")

    def write(self, shard: int, first_row: int, table: pa.Table, tally: Tally) -> None:
        """Publish one piece."""
        path = self.folder / f"part-{shard:05d}.{first_row:09d}.parquet"
        write_parquet(path, self.schema, [table], tally)

    def names(self) -> list[str]:
        """The names of all pieces."""
        return [path.name for path in self.folder.glob("part-*.parquet")]

    def tally(self, name: str) -> Tally:
        """The counts of the piece of that name."""
        return _read_piece(self.folder / name).tally

    def pieces(self, shard: int | None = None) -> dict[int, list[Piece]]:
        """What is finished, of one shard or of all, in order.

        Raises OutputError for a piece that is damaged, misplaced, or of another run.
        """
        found: dict[int, list[Piece]] = {}
        pattern = "part-*.parquet" if shard is None else f"part-{shard:05d}.*.parquet"
        for path in sorted(self.folder.glob(pattern), key=_place):
            try:
                piece = _read_piece(path)
            except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
                raise OutputError(f"{path}: damaged ({error}); remove it and run again") from error
            if self.run is not None and piece.run != self.run:
                raise OutputError(f"{path}: is a piece of another run; remove it and run again")
            before = found.setdefault(piece.shard, [])
            if piece.first_row != sum(other.rows for other in before):
                raise OutputError(f"{path}: does not follow the rows before it; use --overwrite to begin again")
            before.append(piece)
        return found

    def merge(self, path: Path, pieces: Iterable[Piece]) -> None:
        """Write the rows of `pieces` in their order as one file at `path`, one row group in memory at a time."""
        pieces = list(pieces)
        write_parquet(path, self.schema, row_groups(pieces), sum((piece.tally for piece in pieces), Tally()))

    def remove(self) -> None:
        """Drop everything; the record goes last, so that a kill in between leaves a run that can be recognised."""
        for path in sorted(self.folder.glob("*"), key=lambda path: path.name == "run.json"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        self.folder.rmdir()


def write_parquet(path: Path, schema: pa.Schema, tables: Iterable[pa.Table], tally: Tally) -> None:
    """Publish `tables` as one file of a row group each; none at all makes a file of no rows."""
    # A `with ParquetWriter` that fails closes a valid, shorter file: only AtomicFile decides whether it comes to be.
    with AtomicFile(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for table in tables:
            table = table if table.schema.equals(schema) else table.cast(schema)
            writer.write_table(table, row_group_size=max(table.num_rows, 1))
            del table  # before the next one is read: two at a time would show in the peak of every long run
        writer.add_key_value_metadata(as_metadata({TALLY: tally.to_json()}))


def _read_record(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except ValueError as error:
        raise OutputError(f"{path}: damaged ({error}); remove {path.parent} to begin again") from error


def _place(path: Path) -> tuple[int, int]:
    _, shard, first_row = re.split(r"[-.]", path.name)[:3]
    return int(shard), int(first_row)


def _read_piece(path: Path) -> Piece:
    with pq.ParquetFile(path) as parquet:
        metadata = parquet.metadata
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    sizes = tuple((part.num_rows, part.total_byte_size) for part in groups)
    facts = facts_in(metadata.metadata)
    return Piece(path, *_place(path), sizes, tally_in(facts), _run_of(facts))


def _run_of(facts: Mapping[str, str]) -> object:
    """What a run and its pieces have in common. In a growing output these are the input and all that decides."""
    if RUN in facts or INPUT not in facts:
        return facts.get(RUN)
    return Origin.said(facts).deciding, json.loads(facts[INPUT])["digest"]


def row_groups(pieces: Iterable[Piece]) -> Iterator[pa.Table]:
    """Tables for row groups of up to SHARD_ROWS; small neighbours are joined."""
    places = [(piece.path, index, size) for piece in pieces for index, size in enumerate(piece.groups)]
    for first, last in group([size for _, _, size in places], SHARD_ROWS):
        yield pa.concat_tables([_row_group(path, index) for path, index, _ in places[first:last]])


def _row_group(path: Path, index: int) -> pa.Table:
    with pq.ParquetFile(path, pre_buffer=False) as parquet:
        return parquet.read_row_group(index, use_threads=False)


def linked(source: Path, target: Path) -> bool:
    """Give a finished file a second name, if the filesystem can; without hard links the caller writes it again."""
    try:
        os.link(source, target)
    except OSError:
        return False
    return True
