"""The rows of one shard on their way into the staging folder."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from ..columns import ENTITIES, ERROR, column_texts, outcome, storable, stored
from ..errors import NerxError, OutputError
from ..reading.corpus import Shard
from ..reading.source import SHARD_BYTES
from ..reading.store import reason
from ..span import Extraction
from ..tally import Tally
from .staging import Staging, row_groups

CHECKPOINT_SECONDS = 60.0
"""A run that is killed loses no more than this of its work."""


class ShardWriter:
    """Collects the rows of one shard and publishes them as pieces: at the end, every so often, and when stopped.

    A clean exit commits what was added, all of the shard or not; an exception drops what came after the last piece.
    """

    def __init__(self, staging: Staging, shard: Shard, text_index: int, checkpoint_seconds: float) -> None:
        self._staging = staging
        self._shard = shard
        self._text_index = text_index
        self._checkpoint_seconds = checkpoint_seconds
        self._committed = shard.skip
        self._begin()

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.checkpoint()

    @property
    def is_whole(self) -> bool:
        """Whether all rows of the shard have been added, now or before."""
        return self._committed + self._tally.rows == self._shard.rows

    def finished(self) -> Iterator[tuple[list[str | None], list[Extraction]]]:
        """Texts and extractions of the shard's rows that are done already, a row group at a time."""
        pieces = self._staging.pieces().get(self._shard.index, []) if self._shard.skip else []
        for table in row_groups(pieces):
            texts = [text for chunk in table.column(self._text_index).chunks for text in column_texts(chunk)]
            entities, errors = table.column(ENTITIES.name), table.column(ERROR.name)
            yield texts, stored(entities, texts, errors)

    def add(
        self, batch: pa.RecordBatch, extractions: Sequence[Extraction], *, tokens: int = 0, seconds: float = 0.0
    ) -> Tally:
        """Append the next rows with what was found in them; returns their counts. Raises NerxError for a wrong span.

        `tokens` were read for it, in `seconds`.
        """
        if self._committed + self._tally.rows + batch.num_rows > self._shard.rows:
            raise NerxError(f"{self._shard.path}: more rows than the {self._shard.rows:,} of shard {self._shard.index}")
        done = outcome(batch.column(self._text_index), extractions)
        columns = [*storable(batch).columns, done.entities, done.errors]
        self._batches.append(pa.RecordBatch.from_arrays(columns, schema=self._staging.schema))
        counted = replace(done.tally, tokens=tokens, seconds=seconds)
        self._tally += counted
        self._size += self._batches[-1].nbytes
        if self._size >= SHARD_BYTES or time.monotonic() - self._since >= self._checkpoint_seconds:
            self.checkpoint()
        return counted

    def checkpoint(self) -> None:
        """Publish the rows added since the last piece, if any."""
        if not self._batches:
            return
        table = pa.Table.from_batches(self._batches, self._staging.schema)
        with reporting(self._staging.folder, self._staging.folder):
            self._staging.write(self._shard.index, self._committed, table, self._tally)
        self._committed += self._tally.rows
        self._begin()

    def _begin(self) -> None:
        self._batches: list[pa.RecordBatch] = []
        self._tally = Tally()
        self._size = 0
        self._since = time.monotonic()


@contextmanager
def reporting(out: Path | str, staging: Path) -> Iterator[None]:
    """Turns an OSError into an OutputError that says what is kept in the folder `staging`."""
    try:
        yield
    except OSError as error:
        kept = f"; what is finished is kept in {staging}, run again to go on" if staging.exists() else ""
        raise OutputError(f"{out}: cannot be written ({reason(error)}){kept}") from error
