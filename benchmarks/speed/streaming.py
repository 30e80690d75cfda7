"""Memory of `nerx extract` against the size of its input: the real command, a tiny base with random weights.

    python -m benchmarks.speed.streaming                           50,000 and 1,000,000 rows (half an hour on 2 cores)
    python -m benchmarks.speed.streaming --quick                   5,000 and 20,000 rows
    python -m benchmarks.speed.streaming --rows 50000 5000000

Each size is a process of its own whose resident memory is sampled ten times a second. Afterwards input and output are
read side by side: every row there, once and in order, every column equal, every entity's text at its offsets.
The result is written after each size, with a page and a plot of the memory over the run beside it.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from ..lab.curve import Curve, plot, thinned
from ..lab.machine import commit, this_machine
from ..lab.places import RESULTS
from ..lab.tiny import NAMES, NERX, make_adapter, text_of

WRITE_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class Measured:
    """One run. `peak_mib`: most resident memory. `mib`: (seconds, MiB), the most of each stretch of the run.

    `drift_mib`: median of the run's last fifth less that of its second fifth, MiB: what a leak would let grow.
    """

    rows: int
    entities: int
    peak_mib: float
    drift_mib: float
    seconds: float
    cpu_seconds: float
    rows_a_second: float
    input_bytes: int
    mib: Curve


def main() -> None:
    options = parse()
    found: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="nerx-streaming-", dir=options.work) as folder:
        work = Path(folder)
        adapter = make_adapter(work)
        for rows in options.rows:
            found.append(measure(work, adapter, rows, options.threads))
            if options.json:
                write(options.json, found, options.threads, options.note)
    print(f"peak memory of {found[-1].rows:,} rows over {found[0].rows:,}: {peak_ratio(found)}")


def peak_ratio(found: Sequence[Measured]) -> float:
    return round(found[-1].peak_mib / found[0].peak_mib, 3)


def write(path: Path, found: Sequence[Measured], threads: int, note: str) -> None:
    """The record, a page and a plot, of the same name."""
    record: dict[str, Any] = {
        "benchmark": "streaming",
        "runs": [asdict(one) for one in found],
        "peak_ratio": peak_ratio(found),
        "threads": threads,
        "note": note,
        "machine": this_machine().to_dict(),
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record) + "\n")
    path.with_suffix(".md").write_text(to_page(record, path.with_suffix(".svg").name))
    plot({f"{one.rows:,} rows": one.mib for one in found}, path.with_suffix(".svg"))


def to_page(record: dict[str, Any], picture: str) -> str:
    machine = record["machine"]
    lines = [
        f"| {one['rows']:,} | {one['entities']:,} | {one['peak_mib']:.0f} | {one['drift_mib']:+.0f} "
        f"| {one['seconds']:,.0f} | {one['rows_a_second']:,.0f} | {_seconds(one['cpu_seconds'])} |\n"
        for one in record["runs"]
    ]
    return f"""# Memory of `nerx extract`

The real command on one Parquet file, a tiny base with random weights. Every row came out once, in order, with all its
columns equal and every entity at its offsets. Drift: median memory of a run's last fifth less that of its second.

| rows | entities | peak MiB | drift MiB | seconds | rows/s | CPU s |
|---:|---:|---:|---:|---:|---:|---:|
{"".join(lines)}
![resident memory over the run]({picture})

Measured on {machine["cpu"]}, {record["threads"]} thread, {record["date"]}, commit {record["commit"] or "unknown"}.
{record["note"]}
"""


def _seconds(value: float | None) -> str:
    """Records of before 2026-11-22 have no CPU time."""
    return "-" if value is None else f"{value:,.0f}"


def measure(work: Path, adapter: Path, rows: int, threads: int) -> Measured:
    source, target = work / f"{rows}.parquet", work / f"{rows}.nerx.parquet"
    write_corpus(source, rows)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [*NERX, "extract", str(source), "--adapter", str(adapter), "--quiet"]
    process = subprocess.Popen(command, env=environment)
    samples = list(watch(process, began))
    if process.returncode:
        sys.exit(f"nerx extract ended with {process.returncode}")
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    entities = compare(source, target)
    peak, fifth = max(mib for _, mib in samples), len(samples) // 5
    drift = statistics.median(mib for _, mib in samples[-fifth:]) - statistics.median(
        mib for _, mib in samples[fifth : 2 * fifth]
    )
    pace = f"{seconds:7.0f} s  {rows / seconds:7.0f} rows/s"
    print(f"{rows:>9,} rows  {entities:>9,} entities  peak {peak:7.0f} MiB  {pace}", flush=True)
    size = source.stat().st_size
    source.unlink()
    target.unlink()
    return Measured(
        rows=rows,
        entities=entities,
        peak_mib=round(peak, 1),
        drift_mib=round(drift, 1),
        seconds=round(seconds, 1),
        cpu_seconds=round(cpu, 1),
        rows_a_second=round(rows / seconds, 1),
        input_bytes=size,
        mib=thinned(samples),
    )


def watch(process: subprocess.Popen[bytes], began: float) -> Iterator[tuple[float, float]]:
    """(seconds, MiB) ten times a second until the process ends."""
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            yield round(time.monotonic() - began, 1), round(watched.memory_info().rss / 2**20, 1)
        except psutil.NoSuchProcess:
            return
        time.sleep(0.1)


def write_corpus(path: Path, rows: int) -> None:
    """Columns of several types, nulls among them; every text is another one."""
    with pq.ParquetWriter(path, corpus_schema()) as writer:
        for first in range(0, rows, WRITE_ROWS):
            numbers = range(first, min(first + WRITE_ROWS, rows))
            columns = [
                pa.array(numbers, pa.int64()),
                pa.array([None if row % 997 == 0 else text_of(row) for row in numbers]),
                pa.array([row / 7 for row in numbers]),
                pa.array([[NAMES[row % 5]] * (row % 3) for row in numbers]),
                pa.array([row * 1000 for row in numbers], pa.timestamp("ms", "UTC")),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=corpus_schema()))


def corpus_schema() -> pa.Schema:
    stamp, tags = pa.timestamp("ms", "UTC"), pa.list_(pa.string())
    return pa.schema(
        [("id", pa.int64()), ("text", pa.string()), ("price", pa.float64()), ("tags", tags), ("at", stamp)]
    )


def compare(source: Path, target: Path) -> int:
    """Reads both side by side; exits at the first difference. Returns the entities counted."""
    entities = rows = 0
    with pq.ParquetFile(source) as before, pq.ParquetFile(target) as after:
        if after.metadata.num_rows != before.metadata.num_rows:
            sys.exit(f"{target}: {after.metadata.num_rows:,} rows of {before.metadata.num_rows:,}")
        names = before.schema_arrow.names
        pairs = zip(aligned(before, names), aligned(after, [*names, "entities", "nerx_error"]), strict=True)
        for old, new in pairs:
            if not new.select(names).equals(old):
                sys.exit(f"{target}: columns differ from the input in the rows from {rows:,}")
            entities += check_entities(new)
            rows += new.num_rows
    return entities


def aligned(file: pq.ParquetFile, names: Sequence[str]) -> Iterator[pa.Table]:
    """Tables of WRITE_ROWS rows, whatever the row groups."""
    held: list[pa.Table] = []
    for batch in file.iter_batches(10_000, columns=list(names)):
        held.append(pa.Table.from_batches([batch]))
        if sum(table.num_rows for table in held) == WRITE_ROWS:
            yield pa.concat_tables(held).combine_chunks()
            held = []
    if held:
        yield pa.concat_tables(held).combine_chunks()


def check_entities(table: pa.Table) -> int:
    count = 0
    for text, entities in zip(table["text"].to_pylist(), table["entities"].to_pylist(), strict=True):
        if (text is None) != (entities is None):
            sys.exit(f"a row of text {text!r} has entities {entities}")
        for entity in entities or ():
            if text[entity["start"] : entity["end"]] != entity["text"]:
                sys.exit(f"an entity is not at its place: {entity} in {text!r}")
            count += 1
    return count


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=None, help="sizes, the smallest first")
    parser.add_argument("--quick", action="store_true", help="5,000 and 20,000 rows")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path, default=None, help="a folder for temporary files")
    parser.add_argument("--note", default="", help="what else is to be known of the result, for the page")
    parser.add_argument("--json", type=Path, default=None, help="the record, with a .md and an .svg beside it")
    options = parser.parse_args()
    if options.rows is None:
        options.rows = [5_000, 20_000] if options.quick else [50_000, 1_000_000]
        if not options.quick and options.json is None:
            options.json = RESULTS / "streaming.json"
    return options


if __name__ == "__main__":
    main()
