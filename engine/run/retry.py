"""Extracts again from the failed rows of a finished output. All other values stay as they are.

A part without failed rows is left alone. A part with failed rows is written anew beside the output, one row group at a
time, and then takes the place of the old part in one step. So a row is either as it was or retried. The corpus is not
read.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..columns import ENTITIES, ERROR, Outcome, column_texts, outcome
from ..errors import OutputError
from ..origin import TALLY, Origin, as_metadata, facts_in
from ..tally import Tally
from ..writing.atomic import AtomicFile, sync
from ..writing.lock import OutputLock
from ..writing.part import file_facts, output_tally
from ..writing.place import lock_file, part_files, staging_folder
from ..writing.writer import reporting
from .pipeline import TextExtractor, never
from .summary import Progress, RetrySummary, RunSummary

RETRIED_AT_ONCE = 256
"""Failed rows per batch. The retry asks `stop` between batches."""


class FailedRows:
    """The failed rows of the output `out`. Use it as a context manager, which locks the output.

    On entry it raises OutputError when `out` is no output of nerx or a run to it is unfinished, and OutputLockedError
    while another run holds it.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._lock = OutputLock(lock_file(out), out)
        self._staging = out.with_name(f".{out.name}.nerx-retry")
        self._tallies: dict[Path, Tally] = {}

    def __enter__(self) -> "FailedRows":
        if not self.out.exists():
            raise OutputError(f"{self.out}: no such output; --retry-failed needs a finished output")
        with reporting(self.out, self._staging):
            self._lock.acquire_for(self._open)
        return self

    def __exit__(self, *exception: object) -> None:
        shutil.rmtree(self._staging, ignore_errors=True)
        self._lock.release()

    def _open(self) -> None:
        if staging_folder(self.out).exists():
            raise OutputError(f"{self.out}: a run to this output is not finished; first run it without --retry-failed")
        shutil.rmtree(self._staging, ignore_errors=True)
        self._tallies = {part: output_tally(part) for part in part_files(self.out)}

    @property
    def count(self) -> int:
        return sum(tally.failures for tally in self._tallies.values())

    @property
    def rows(self) -> int:
        return sum(tally.rows for tally in self._tallies.values())

    def summary(self, retry: RetrySummary | None = None) -> RunSummary:
        """The output as it is now, after `retry`. Without `retry` there was no row to retry."""
        whole = sum(self._tallies.values(), Tally())
        nothing = RetrySummary(str(self.out), self.rows, 0, 0, self.count, 0, 0.0, interrupted=False)
        done = retry or nothing
        summary = RunSummary.of(
            whole,
            shards=len(self._tallies),
            out=str(self.out),
            resumed_rows=self.rows - done.retried,
            interrupted=done.interrupted,
        )
        return replace(summary, retry=done)

    def require_made_with(self, origin: Origin) -> None:
        """Raises OutputError unless the output was made with the adapter, base and options of `origin`."""
        for part in self._tallies:
            if changes := Origin.said(file_facts(part)).changes(origin):
                raise OutputError(
                    f"{part}: was made differently ({'; '.join(changes)}); retry its failed rows with the adapter and "
                    "options of that run, or extract everything again with --overwrite"
                )

    def retry(
        self,
        extractor: TextExtractor,
        *,
        progress: Callable[[Progress], None] | None = None,
        stop: Callable[[], bool] = never,
    ) -> RetrySummary:
        """Extract from the failed rows, and publish each part that holds some. Asks `stop` before every batch."""
        count = self.count
        attempt = _Attempt(extractor, stop, progress, count)
        for part, before in self._tallies.items():
            if before.failures and not attempt.stopped:
                with reporting(self.out, self._staging):
                    self._tallies[part] = self._rewrite(part, before, attempt)
        return RetrySummary(
            out=str(self.out),
            rows=self.rows,
            retried=attempt.tally.rows,
            recovered=count - self.count,
            failures=self.count,
            entities=attempt.tally.entities,
            seconds=attempt.tally.seconds,
            interrupted=attempt.stopped,
        )

    def _rewrite(self, part: Path, before: Tally, attempt: "_Attempt") -> Tally:
        self._staging.mkdir(exist_ok=True)
        since = attempt.tally
        with pq.ParquetFile(part, pre_buffer=False) as parquet:
            schema = parquet.schema_arrow
            text_column = facts_in(schema.metadata).get("text_column", "text")
            path = self._staging / part.name
            with AtomicFile(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
                for index in range(parquet.num_row_groups):
                    table = parquet.read_row_group(index, use_threads=False)
                    table = _retried(table, table.column(text_column), attempt)
                    writer.write_table(table, row_group_size=max(table.num_rows, 1))
                after = _updated(before, since, attempt.tally)
                writer.add_key_value_metadata(as_metadata({TALLY: after.to_json()}))
        path.replace(part)
        sync(part.parent)
        return after


@dataclass(slots=True)
class _Attempt:
    """One pass over failed rows, and its counts."""

    extractor: TextExtractor
    stop: Callable[[], bool]
    progress: Callable[[Progress], None] | None
    total: int
    tally: Tally = field(default_factory=Tally)
    stopped: bool = False

    def extract(self, column: pa.Array) -> Outcome | None:
        """The outcome for these texts; None when the retry has to stop."""
        self.stopped = self.stopped or self.stop()
        if self.stopped:
            return None
        clock, tokens = time.perf_counter(), self.extractor.tokens
        found = self.extractor.extract(column_texts(column))
        seconds, read = time.perf_counter() - clock, self.extractor.tokens - tokens
        done = outcome(column, found)
        self.tally += replace(done.tally, tokens=read, seconds=seconds)
        if self.progress is not None:
            self.progress(Progress.of(self.tally, self.total))
        return done


def _retried(table: pa.Table, texts: pa.ChunkedArray, attempt: _Attempt) -> pa.Table:
    """`table` with new entities and errors in its failed rows. After a stop, later rows stay as they were."""
    failed = pc.indices_nonzero(table.column(ERROR.name).is_valid())
    if not len(failed):
        return table
    if pa.types.is_string_view(texts.type):  # pyarrow 26 takes no rows of these
        texts = texts.cast(pa.large_string())
    place = list(range(table.num_rows))
    entities, errors = (table.column(name).chunks for name in (ENTITIES.name, ERROR.name))
    end = table.num_rows
    for first in range(0, len(failed), RETRIED_AT_ONCE):
        batch = failed.slice(first, RETRIED_AT_ONCE)
        found = attempt.extract(texts.take(batch).combine_chunks())
        if found is None:
            break
        for offset, row in enumerate(batch.to_pylist()):
            place[row] = end + offset
        end += len(batch)
        entities.append(found.entities)
        errors.append(found.errors)
    for name, chunks in ((ENTITIES.name, entities), (ERROR.name, errors)):
        index = table.schema.get_field_index(name)
        values = pa.chunked_array(chunks, table.schema.field(index).type).take(pa.array(place, pa.int64()))
        table = table.set_column(index, table.schema.field(index), values)
    return table


def _updated(before: Tally, since: Tally, now: Tally) -> Tally:
    """The counts of a part after a retry, which took the counts of all parts from `since` to `now`."""
    done = now - since
    return before + replace(done, rows=0, texts=0, failures=done.failures - done.rows)
