"""The rows of a finished output that failed, extracted again; everything else stays, value for value.

A part without failed rows is left alone. One with some is written anew beside the output, a row group at a time, and
takes the old one's place in one step: a row is either as it was or retried. The corpus is not read.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..columns import ENTITIES, ERROR, column_texts, entity_columns, settle
from ..errors import OutputError
from ..tally import Tally
from ..writing.fingerprint import differences
from ..writing.lock import OutputLock
from ..writing.output import output_tally
from ..writing.place import is_single, lock_file, staging_folder
from ..writing.publication import Publication, sync
from ..writing.staging import TALLY_KEY
from ..writing.writer import reporting
from .pipeline import Progress, TextExtractor, never

BATCH_ROWS = 256
"""Failed rows handed to the extractor between two looks at signals."""


@dataclass(frozen=True, slots=True)
class RetrySummary:
    """What a retry did. `rows` and `failures` are those of the whole output, afterwards."""

    out: str
    rows: int
    retried: int
    recovered: int
    failures: int
    entities: int
    """Found in the rows that were retried."""
    seconds: float
    interrupted: bool
    """`stop` ended the retry: rows that it did not come to are as they were, a rerun goes on."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class FailedRows:
    """The rows of the output `out` that failed. Use as a context manager: inside, the output is locked.

    Raises OutputError when there is no output of nerx, or an unfinished run to it; OutputLockedError on entry.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._lock = OutputLock(lock_file(out), out)
        self._staging = out.with_name(f".{out.name}.nerx-retry")
        self._tallies: dict[Path, Tally] = {}

    def __enter__(self) -> "FailedRows":
        if not self.out.exists():
            raise OutputError(f"{self.out}: no such output; --retry-failed is for one that is finished")
        with reporting(self.out, self._staging):
            self._lock.acquire()
            try:
                if staging_folder(self.out).exists():
                    raise OutputError(f"{self.out}: a run to it is not finished; run it again without --retry-failed")
                shutil.rmtree(self._staging, ignore_errors=True)
                parts = [self.out] if is_single(self.out) else sorted(self.out.glob("part-*.parquet"))
                self._tallies = {part: output_tally(part) for part in parts}
            except BaseException:
                self._lock.release()
                raise
        return self

    def __exit__(self, *exception: object) -> None:
        shutil.rmtree(self._staging, ignore_errors=True)
        self._lock.release()

    @property
    def count(self) -> int:
        return sum(tally.failures for tally in self._tallies.values())

    @property
    def rows(self) -> int:
        return sum(tally.rows for tally in self._tallies.values())

    def require_made_with(self, metadata: Mapping[str, str]) -> None:
        """Raises OutputError unless these facts, such as `adapter`, are those in the output's metadata."""
        for part in self._tallies:
            said = pq.read_metadata(part).metadata or {}
            before = {name: said.get(f"nerx.{name}".encode(), b"").decode() for name in metadata}
            if changes := differences(before, dict(metadata)):
                raise OutputError(
                    f"{part}: was made differently ({'; '.join(changes)}); retry its failed rows with the adapter and "
                    "options of that run, or extract all anew with --overwrite"
                )

    def retry(
        self,
        extractor: TextExtractor,
        *,
        progress: Callable[[Progress], None] | None = None,
        stop: Callable[[], bool] = never,
    ) -> RetrySummary:
        """Extract from the failed rows and publish the parts that hold some. `stop` is asked before every batch."""
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
            text_column = (schema.metadata or {}).get(b"nerx.text_column", b"text").decode()
            path = self._staging / part.name
            with Publication(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
                for index in range(parquet.num_row_groups):
                    table = parquet.read_row_group(index, use_threads=False)
                    table = _retried(table, table.column(text_column), attempt)
                    writer.write_table(table, row_group_size=max(table.num_rows, 1))
                after = _updated(before, since, attempt.tally)
                writer.add_key_value_metadata({TALLY_KEY.decode(): after.to_json()})
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

    def extract(self, column: pa.Array) -> tuple[pa.Array, pa.Array] | None:
        """The two columns for these texts; None when the run is to stop."""
        self.stopped = self.stopped or self.stop()
        if self.stopped:
            return None
        clock, tokens = time.perf_counter(), self.extractor.tokens
        texts = column_texts(column)
        extractions = settle(column, texts, self.extractor.extract(texts))
        seconds, read = time.perf_counter() - clock, self.extractor.tokens - tokens
        self.tally += replace(Tally.of(texts, extractions), tokens=read, seconds=seconds)
        if self.progress is not None:
            at = self.tally
            self.progress(Progress(at.rows, self.total, at.entities, at.failures, at.tokens, at.seconds))
        return entity_columns(texts, extractions)


def _retried(table: pa.Table, texts: pa.ChunkedArray, attempt: _Attempt) -> pa.Table:
    """`table` with new entities and errors in the rows that had failed, as many as were come to."""
    failed = pc.indices_nonzero(table.column(ERROR.name).is_valid())
    if not len(failed):
        return table
    if pa.types.is_string_view(texts.type):  # pyarrow 26 takes no rows of these
        texts = texts.cast(pa.large_string())
    place = list(range(table.num_rows))
    entities, errors = (table.column(name).chunks for name in (ENTITIES.name, ERROR.name))
    end = table.num_rows
    for first in range(0, len(failed), BATCH_ROWS):
        batch = failed.slice(first, BATCH_ROWS)
        found = attempt.extract(texts.take(batch).combine_chunks())
        if found is None:
            break
        for offset, row in enumerate(batch.to_pylist()):
            place[row] = end + offset
        end += len(batch)
        entities.append(found[0])
        errors.append(found[1])
    for name, chunks in ((ENTITIES.name, entities), (ERROR.name, errors)):
        index = table.schema.get_field_index(name)
        values = pa.chunked_array(chunks, table.schema.field(index).type).take(pa.array(place, pa.int64()))
        table = table.set_column(index, table.schema.field(index), values)
    return table


def _updated(before: Tally, since: Tally, now: Tally) -> Tally:
    """The counts of a part whose failed rows were retried, which took the counts from `since` to `now`."""
    done = now - since
    return before + replace(done, rows=0, texts=0, failures=done.failures - done.rows)
