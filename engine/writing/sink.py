"""Where the rows go: one Parquet file or a folder of parts, published whole or not at all, by one run at a time.

Rows are collected shard by shard in a `Staging` folder beside the output's home. When all are there they are assembled
and put into the output; until then it does not exist, or is the previous one.
Deliberately knows nothing of models, and of the output no more than :class:`~.output.Output` says.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from ..errors import NerxError
from ..origin import Origin
from ..reading.corpus import Corpus, Shard
from ..tally import Tally
from .atomic import sync
from .fingerprint import Run
from .lock import OutputLock
from .output import Output, check_output
from .part import output_schema
from .place import is_under_way, lock_file, old_folder, part_name, staging_folder
from .staging import Piece, Staging, linked
from .writer import CHECKPOINT_SECONDS, ShardWriter, reporting


class Sink:
    """The output of one run. Use as a context manager: inside, the output is locked and its staging folder is open.

    The run is that of `origin` over `corpus`: what is finished of it, by this process or one before it, is not done
    again, and what is there of another one is an error that names the difference. `checkpoint_seconds` is how much
    work a kill may cost. Raises OutputError, and OutputLockedError on entry while another run holds the output.
    """

    def __init__(
        self,
        output: Output,
        corpus: Corpus,
        origin: Origin,
        *,
        overwrite: bool = False,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
    ) -> None:
        check_output(output, overwrite=overwrite, inputs=[file.path for file in corpus.files])
        self._output = output
        self._run = replace(Run.of(corpus, origin), goes_on=is_under_way(output.home))
        self._overwrite = overwrite
        self._is_share = corpus.share is not None
        self._text_index = corpus.text_index
        self._lock = OutputLock(lock_file(output.home), output)
        self._is_published = False
        self.staging = Staging(staging_folder(output.home), output_schema(corpus.schema, self._run.facts))
        """Where pieces wait; there while the sink is entered and not finished."""
        self.checkpoint_seconds = checkpoint_seconds

    def __enter__(self) -> "Sink":
        with self._reporting():
            self._output.home.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire_for(self._open)
        return self

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    @property
    def name(self) -> str:
        """How messages and summaries call the output."""
        return str(self._output)

    def tally(self) -> Tally:
        """The counts of all that is finished, by this process and those before it."""
        if self._is_published:
            return self._output.tally(self._run)
        pieces = [piece for shard in self.staging.pieces().values() for piece in shard]
        return sum((piece.tally for piece in pieces), Tally())

    def pending(self, shards: Sequence[Shard]) -> Iterator[Shard]:
        """The shards that are not finished, in order; `skip` tells how far one is."""
        if self._is_published:
            return
        pieces = self.staging.pieces()
        for shard in shards:
            done = sum(piece.rows for piece in pieces.get(shard.index, []))
            if done < shard.rows:
                yield replace(shard, skip=done)

    def writer(self, shard: Shard) -> ShardWriter:
        """To add the rows of `shard` that are not done, in order, within a `with` block."""
        return ShardWriter(self.staging, shard, self._text_index, self.checkpoint_seconds)

    def finish(self, shards: Sequence[Shard]) -> None:
        """Publish the output and remove the staging folder. Raises NerxError unless every row of `shards` is there."""
        with self._reporting():
            # Asked again: hours have passed since the run began.
            self._require_free()
            if not self._is_published:
                self._output.put(self._built(self._whole(shards)))
            shutil.rmtree(old_folder(self._output.home), ignore_errors=True)
            self.staging.remove()

    def _open(self) -> None:
        # A run that was killed after it had published its result, and before it had tidied up, has only that to do.
        self._is_published = self._run.goes_on and self._output.is_finished(self._run)
        self._require_free()
        self.staging.prepare(self._run.fingerprint, overwrite=self._overwrite or self._is_published)

    def _require_free(self) -> None:
        self._output.check(may_exist=True)
        if not (self._overwrite or self._is_published):
            self._output.require_free(self._run)

    def _whole(self, shards: Sequence[Shard]) -> dict[int, list[Piece]]:
        """The pieces of each shard. Raises NerxError unless every row is there."""
        pieces = self.staging.pieces()
        for shard in shards:
            done = sum(piece.rows for piece in pieces.get(shard.index, []))
            if done != shard.rows:
                raise NerxError(f"{self.name}: shard {shard.index} has {done:,} of its {shard.rows:,} rows")
        return {shard.index: pieces[shard.index] for shard in shards}

    def _built(self, parts: Mapping[int, Sequence[Piece]]) -> Path:
        """The output as it is to be, in staging: a file, or a folder with a file for every shard, numbered as they are.

        Without rows there is one part for the columns, unless other shares will make some.
        """
        if self._output.is_single:
            whole = self.staging.folder / "whole.parquet"
            self.staging.merge(whole, [piece for part in parts.values() for piece in part])
            return whole
        folder = self.staging.folder / "parts"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for index, pieces in (parts or ({} if self._is_share else {0: []})).items():
            path = folder / part_name(index)
            if not (len(pieces) == 1 and linked(pieces[0].path, path)):
                self.staging.merge(path, pieces)
        sync(folder)
        return folder

    def _reporting(self) -> AbstractContextManager[None]:
        return reporting(self.name, self.staging.folder)
