"""Where the rows go: one Parquet file or a folder of parts, published whole or not at all, by one run at a time.

Rows are collected shard by shard in a `Staging` folder beside the output. When all are there they are assembled and
renamed to the output's name; until then that name does not exist, or is the previous output.
Deliberately knows nothing of models; what it is given as metadata and fingerprint it stores and compares.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import NerxError, OutputError
from ..reading.corpus import Shard
from ..tally import Tally
from .fingerprint import Fingerprint, digest_of
from .lock import OutputLock
from .output import check_output, output_schema, output_tally
from .place import has_content, is_single, is_under_way, lock_file, staging_folder
from .publication import sync
from .shard_sink import ShardSink
from .staging import RUN_KEY, Piece, Staging
from .writer import CHECKPOINT_SECONDS, ShardWriter, reporting


class Sink:
    """The output of one run. Use as a context manager: inside, the output is locked and its staging folder is open.

    `fingerprint` (JSON values) is what must be equal for a run to go on where another stopped. `metadata` goes into
    the Parquet files. Raises OutputError, and OutputLockedError on entry while another run holds the output.
    """

    def __init__(
        self,
        out: Path,
        schema: pa.Schema,
        text_column: str,
        *,
        fingerprint: Fingerprint,
        metadata: Mapping[str, str] | None = None,
        overwrite: bool = False,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
    ) -> None:
        self.out = out
        self._text_index = schema.get_field_index(text_column)
        self._fingerprint = fingerprint
        self._overwrite = overwrite
        self._check()
        place = self._place
        self._checkpoint_seconds = checkpoint_seconds
        metadata = {**(metadata or {}), RUN_KEY.decode(): digest_of(fingerprint)}
        self._staging = Staging(staging_folder(place), output_schema(schema, metadata))
        self._lock = OutputLock(lock_file(place), self.name)
        self._was_under_way = is_under_way(place)
        self._is_published = False

    def __enter__(self) -> "Sink":
        with self._reporting():
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            try:
                self._open_staging()
            except BaseException:
                self._lock.release()
                raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    @property
    def name(self) -> str:
        """How messages and summaries call the output."""
        return str(self.out)

    def tally(self) -> Tally:
        """The counts of all that is finished, by this process and those before it."""
        if self._is_published:
            return self._published_tally()
        pieces = [piece for shard in self._staging.pieces().values() for piece in shard]
        return sum((piece.tally for piece in pieces), Tally())

    def pending(self, shards: Sequence[Shard]) -> Iterator[Shard]:
        """The shards that are not finished, in order; `skip` tells how far one is."""
        if self._is_published:
            return
        pieces = self._staging.pieces()
        for shard in shards:
            done = sum(piece.rows for piece in pieces.get(shard.index, []))
            if done < shard.rows:
                yield replace(shard, skip=done)

    def writer(self, shard: Shard) -> "ShardWriter":
        """To add the rows of `shard` that are not done, in order, within a `with` block."""
        return ShardWriter(self._staging, shard, self._text_index, self._checkpoint_seconds)

    def shard_sink(self, shard: Shard) -> ShardSink:
        """To have `shard` written by another process, into the same staging folder."""
        return ShardSink(self.staging, shard, self._text_index, self._checkpoint_seconds)

    @property
    def staging(self) -> Staging:
        """Where pieces wait; there while the sink is entered and not finished."""
        return self._staging

    def finish(self, shards: Sequence[Shard]) -> None:
        """Publish the output and remove the staging folder. Raises NerxError unless every row of `shards` is there."""
        with self._reporting():
            # Asked again: hours have passed since the run began.
            self._require_free()
            if not self._is_published:
                pieces = self._staging.pieces()
                for shard in shards:
                    done = sum(piece.rows for piece in pieces.get(shard.index, []))
                    if done != shard.rows:
                        raise NerxError(f"{self.name}: shard {shard.index} has {done:,} of its {shard.rows:,} rows")
                parts = {shard.index: pieces[shard.index] for shard in shards}
                self._publish_file(parts) if is_single(self.out) else self._publish_folder(parts)
            shutil.rmtree(self._old, ignore_errors=True)
            self._staging.remove()

    @property
    def _old(self) -> Path:
        return self.out.with_name(f".{self.out.name}.nerx-old")

    @property
    def _place(self) -> Path:
        """What the staging folder and the lock are named after."""
        return self.out

    def _build_file(self, parts: Mapping[int, Sequence[Piece]]) -> Path:
        whole = self._staging.folder / "whole.parquet"
        self._staging.merge(whole, [piece for part in parts.values() for piece in part])
        return whole

    def _build_folder(self, parts: Mapping[int, Sequence[Piece]]) -> Path:
        """A folder in staging with a file for every shard, numbered as they are."""
        folder = self._staging.folder / "parts"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for index, pieces in parts.items():
            path = folder / f"part-{index:05d}.parquet"
            if len(pieces) == 1 and linked(pieces[0].path, path):
                continue
            self._staging.merge(path, pieces)
        sync(folder)
        return folder

    # What follows knows where the output is; `StoreSink` has another answer to each.

    def _publish_file(self, parts: Mapping[int, Sequence[Piece]]) -> None:
        self._build_file(parts).replace(self.out)
        sync(self.out.parent)

    def _publish_folder(self, parts: Mapping[int, Sequence[Piece]]) -> None:
        folder = self._build_folder(parts or {0: []})
        if self.out.exists() and any(self.out.iterdir()):
            # Two folders cannot be exchanged in one step: a kill between these lines leaves no output for the moment,
            # and a rerun, which finds every piece in staging, publishes it.
            shutil.rmtree(self._old, ignore_errors=True)
            self.out.rename(self._old)
        folder.rename(self.out)
        sync(self.out.parent)

    def _open_staging(self) -> None:
        # A run that was killed after it had published its result, and before it had tidied up, has only that to do.
        self._is_published = self._was_under_way and self._holds_own_result()
        self._require_free()
        self._staging.prepare(self._fingerprint, overwrite=self._overwrite or self._is_published)

    def _check(self) -> None:
        check_output(self.out, overwrite=self._overwrite)

    def _published_tally(self) -> Tally:
        return output_tally(self.out)

    def _require_free(self) -> None:
        self._check()
        if self.out.exists() and has_content(self.out) and not self._overwrite and not self._is_published:
            raise OutputError(f"{self.out}: exists already; use --overwrite to replace it")

    def _holds_own_result(self) -> bool:
        part = self.out if is_single(self.out) else next(iter(sorted(self.out.glob("part-*.parquet"))), None)
        return part is not None and self._is_own(part)

    def _is_own(self, part: Path) -> bool:
        """Whether a published file came from a run of the same fingerprint."""
        try:
            metadata = pq.read_metadata(part).metadata or {}
        except (pa.ArrowException, OSError):
            return False
        return bool(metadata.get(RUN_KEY) == digest_of(self._fingerprint).encode())

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        with reporting(self.name, self._staging.folder):
            yield


def linked(source: Path, target: Path) -> bool:
    """Give a finished file a second name, if the filesystem can; without hard links the caller writes it again."""
    try:
        os.link(source, target)
    except OSError:
        return False
    return True
