"""Whole runs over real files: everything kept, in order, once, also when the process is killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from capitals import POISON, Capitals
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from killing import killed_at
from sinks import open_sink

from nerx.engine.errors import CorpusError, NerxError
from nerx.engine.reading.corpus import open_corpus
from nerx.engine.run.estimate import dry_run
from nerx.engine.run.pipeline import run
from nerx.engine.run.summary import Progress, RunSummary
from nerx.engine.writing.part import output_tally
from nerx.engine.writing.place import is_under_way

HERE = Path(__file__).parent
TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def extract(paths, out: Path, extractor=None, *, stop=lambda: False, progress=None, **options) -> RunSummary:
    extractor = extractor or Capitals()
    corpus = open_corpus([paths] if isinstance(paths, Path) else paths, **options)
    return run(corpus, extractor, open_sink(out, corpus, extractor), stop=stop, progress=progress)


def write_corpus(path: Path, count: int, row_group_size: int = 700) -> Path:
    draw = random.Random(count)
    words = ["The", "ship", "Ever", "Given", "left", "Ünal", "北京", "👩‍👩‍👧", "in", "May"]
    texts = [None if n % 11 == 0 else " ".join(draw.choices(words, k=draw.randrange(12))) for n in range(count)]
    pq.write_table(pa.table({"id": range(count), "text": texts}), path, row_group_size=row_group_size)
    return path


def everything() -> pa.Table:
    """Types that other tools write, each with nulls, and metadata on the table and on a column."""
    when = datetime(2024, 2, 29, 12, 30, tzinfo=UTC)
    columns = {
        "text": pa.array(["Ada met Bob", None, ""], pa.large_string()),
        "view": pa.array(["a", None, "long enough to be stored apart"], pa.string_view()),
        "kind": pa.array(["x", None, "x"]).dictionary_encode(),
        "small": pa.array(["x", None, "x"]).dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string())),
        "zoned": pa.array([when, None, when], pa.timestamp("us", "Europe/Istanbul")),
        "nanos": pa.array([1, None, 3], pa.timestamp("ns")),
        "day": pa.array([date(2024, 2, 29), None, None]),
        "price": pa.array([Decimal("1.10"), None, Decimal("-2.00")], pa.decimal128(12, 2)),
        "wide": pa.array([Decimal("1.1"), None, None], pa.decimal256(60, 1)),
        "bytes": pa.array([b"\xff", None, b""]),
        "half": pa.array([1, None, 2], pa.float16()),
        "took": pa.array([1, None, 2], pa.duration("ms")),
        "nested": pa.array([{"a": [1, None], "b": {"c": "x"}}, None, {"a": [], "b": None}]),
        "tags": pa.array([["x"], None, []], pa.large_list(pa.large_string())),
        "pair": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int16(), 2)),
        "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
        "none": pa.nulls(3),
        "a.b": pa.array([1, 2, 3]),
    }
    fields = [pa.field(name, array.type, metadata={"unit": "none"}) for name, array in columns.items()]
    fields[-1] = fields[-1].with_nullable(False)
    return pa.table(list(columns.values()), schema=pa.schema(fields, metadata={"owner": "lake", "pandas": "{}"}))


@pytest.mark.parametrize("name", ["out.parquet", "out"])
def test_all_columns_types_and_metadata_are_kept(tmp_path, name):
    pq.write_table(everything(), tmp_path / "in.parquet", row_group_size=2)
    extract(tmp_path / "in.parquet", tmp_path / name, batch_rows=1, shard_rows=2)
    before = pq.ParquetFile(tmp_path / "in.parquet").read()
    file = tmp_path / name
    after = pa.concat_tables(
        pq.ParquetFile(part).read() for part in ([file] if file.is_file() else sorted(file.iterdir()))
    )
    assert after.column_names == [*before.column_names, "entities", "nerx_error"]
    kept = after.select(before.column_names)
    assert kept.equals(before)
    for field in before.schema:
        assert kept.schema.field(field.name).equals(field, check_metadata=True), field
    for key, value in before.schema.metadata.items():
        assert after.schema.metadata[key] == value
    assert str(after.schema.field("entities").type) == (
        "list<element: struct<start: int32, end: int32, label: string, text: string, score: float>>"
    )
    assert after.column("nerx_error").type == pa.string()
    found = after.column("entities").to_pylist()
    assert [entity["text"] for entity in found[0]] == ["Ada", "Bob"]
    assert found[1:] == [None, []]


def test_parquet_metadata_says_where_the_output_comes_from(tmp_path):
    write_corpus(tmp_path / "in.parquet", 10)
    corpus, extractor = open_corpus([tmp_path / "in.parquet"]), Capitals("d" * 32)
    provenance = {"version": "1.2.3", "base": "embedded"}
    sink = open_sink(tmp_path / "o.parquet", corpus, extractor, options={"min_score": 0.5}, provenance=provenance)
    summary = run(corpus, extractor, sink)
    metadata = {key.decode(): value.decode() for key, value in pq.read_schema(tmp_path / "o.parquet").metadata.items()}
    assert metadata["nerx.adapter"] == "d" * 32
    assert metadata["nerx.version"] == "1.2.3"
    assert metadata["nerx.base"] == "embedded"
    assert json.loads(metadata["nerx.options"]) == {"min_score": 0.5}
    assert metadata["nerx.offset_unit"] == "unicode code points"
    assert metadata["nerx.text_column"] == "text"
    assert output_tally(tmp_path / "o.parquet").entities == summary.entities


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXTS, max_size=30), st.integers(1, 8), st.integers(1, 8), st.integers(1, 12))
def test_rows_come_out_in_order_whatever_the_cuts(tmp_path, texts, row_group_size, batch_rows, shard_rows):
    source, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    out.unlink(missing_ok=True)
    table = pa.table({"text": pa.array(texts, pa.string()), "n": pa.array(range(len(texts)), pa.int32())})
    pq.write_table(table, source, row_group_size=row_group_size)
    summary = extract(source, out, batch_rows=batch_rows, shard_rows=shard_rows)
    read = pq.read_table(out)
    assert read.select(["text", "n"]).equals(table)
    expected = Capitals().extract(texts)
    for text, extraction, found in zip(texts, expected, read.column("entities").to_pylist(), strict=True):
        assert (found is None) == (text is None)
        keys = [(entity["start"], entity["end"], entity["label"]) for entity in found or []]
        assert keys == [span.key for span in extraction.spans or ()]
        assert all(text[entity["start"] : entity["end"]] == entity["text"] for entity in found or [])
    assert summary.characters_in == summary.characters_read == sum(len(text or "") for text in texts)


def test_every_format_gives_the_same_entities(tmp_path):
    texts = ["Ada met Bob", "nobody", "Ünal, in Rize"]
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (tmp_path / "a.csv").write_text("text\n" + "".join(f'"{text}"\n' for text in texts))
    (tmp_path / "a.txt").write_text("".join(f"{text}\n" for text in texts))
    found = []
    for suffix in ("parquet", "jsonl", "csv", "txt"):
        extract(tmp_path / f"a.{suffix}", tmp_path / f"{suffix}.out.parquet", batch_rows=2)
        found.append(pq.read_table(tmp_path / f"{suffix}.out.parquet").to_pylist())
    assert found[0][2]["entities"][0]["text"] == "Rize"
    assert all(rows == found[0] for rows in found)


def test_an_all_empty_beginning_changes_nothing(tmp_path):
    pq.write_table(pa.table({"text": pa.array([None, "", "none", "One"], pa.string())}), tmp_path / "in.parquet")
    extract(tmp_path / "in.parquet", tmp_path / "o.parquet", batch_rows=1, shard_rows=1)
    found = pq.read_table(tmp_path / "o.parquet").column("entities").to_pylist()
    assert [None if entities is None else len(entities) for entities in found] == [None, 0, 0, 1]


def test_a_poisoned_text_is_a_row_error_and_the_rest_goes_on(tmp_path):
    (tmp_path / "a.txt").write_text(f"One\n{POISON} Two\nThree\n")
    summary = extract(tmp_path / "a.txt", tmp_path / "o.parquet")
    rows = pq.read_table(tmp_path / "o.parquet").to_pylist()
    assert [row["nerx_error"] for row in rows] == [None, "cannot be processed", None]
    assert [row["entities"] is None for row in rows] == [False, True, False]
    assert (summary.rows, summary.texts, summary.failures, summary.entities) == (3, 3, 1, 2)
    assert summary.characters_in == summary.characters_read == len("OneThree")


def test_the_summary_counts_what_the_output_holds(tmp_path):
    write_corpus(tmp_path / "in.parquet", 3000)
    seen: list[Progress] = []
    summary = extract(tmp_path / "in.parquet", tmp_path / "o", batch_rows=100, shard_rows=1000, progress=seen.append)
    table = pq.read_table(tmp_path / "o")
    labels = [entity["label"] for entities in table.column("entities").to_pylist() for entity in entities or []]
    assert summary.entities == len(labels)
    assert summary.entities_per_label == {label: labels.count(label) for label in set(labels)}
    assert summary.rows == summary.texts + table.column("text").null_count == 3000
    assert (
        summary.characters_in == summary.characters_read == sum(len(t or "") for t in table.column("text").to_pylist())
    )
    texts = [text or "" for text in table.column("text").to_pylist()]
    shards = [set(pq.read_table(part).column("text").to_pylist()) for part in (tmp_path / "o").glob("part-*.parquet")]
    read = [text for shard in shards for text in shard if text]
    assert summary.tokens == sum(len(text.split()) for text in read)
    assert summary.repeats == sum(map(bool, texts)) - len(read) > 0
    assert json.loads(json.dumps(summary.to_dict()))["out"] == str(tmp_path / "o")
    assert [event.rows for event in seen] == sorted({event.rows for event in seen})
    assert (seen[-1].rows, seen[-1].total_rows, seen[-1].entities) == (3000, 3000, summary.entities)


# Interrupted


@pytest.mark.parametrize("name", ["o.parquet", "o"])
def test_a_stopped_run_keeps_what_is_finished_and_goes_on(tmp_path, name):
    source = write_corpus(tmp_path / "in.parquet", 3000, row_group_size=1000)
    whole, first, extractor = Capitals(), Capitals(), Capitals()
    extract(source, tmp_path / "whole.parquet", whole, batch_rows=100, shard_rows=500)
    answers = iter([False] * 7 + [True])
    stopped = extract(source, tmp_path / name, first, stop=lambda: next(answers), batch_rows=100, shard_rows=500)
    assert stopped.interrupted
    assert stopped.rows == 700
    assert not (tmp_path / name).exists()
    summary = extract(source, tmp_path / name, extractor, batch_rows=100, shard_rows=500)
    assert (summary.interrupted, summary.rows, summary.resumed_rows) == (False, 3000, 700)
    assert first.texts + extractor.texts == whole.texts
    assert pq.read_table(tmp_path / name).equals(pq.read_table(tmp_path / "whole.parquet"))


def test_a_fault_of_the_extractor_leaves_no_output_and_a_rerun_goes_on(tmp_path):
    class Faulty(Capitals):
        def extract(self, texts):
            found = super().extract(texts)
            return found[:-1] if self.texts > 1000 else found

    source = write_corpus(tmp_path / "in.parquet", 3000, row_group_size=1000)
    with pytest.raises(NerxError, match=r"8\d texts gave 8\d extractions"):
        extract(source, tmp_path / "o.parquet", Faulty(), batch_rows=100, shard_rows=500)
    assert not (tmp_path / "o.parquet").exists()
    assert extract(source, tmp_path / "o.parquet", batch_rows=100, shard_rows=500).resumed_rows == 1000


def test_an_input_cut_off_during_the_run_is_named_and_nothing_is_published(tmp_path):
    source = write_corpus(tmp_path / "in.parquet", 3000)

    class Truncating(Capitals):
        def extract(self, texts):
            if self.texts >= 1000:
                os.truncate(source, source.stat().st_size // 2)
            return super().extract(texts)

    with pytest.raises(CorpusError, match=r"in.parquet: (changed during the run|damaged)"):
        extract(source, tmp_path / "o.parquet", Truncating(), batch_rows=100, shard_rows=500)
    assert not (tmp_path / "o.parquet").exists()


SLOW_RUN = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from capitals import Capitals
from sinks import open_sink
from nerx.engine.reading.corpus import open_corpus
from nerx.engine.run import pipeline

class Slow(Capitals):
    def extract(self, texts):
        time.sleep(0.01)
        return super().extract(texts)

corpus = open_corpus([sys.argv[2]], batch_rows=50, shard_rows=400)
target = open_sink(Path(sys.argv[3]), corpus, Capitals(), checkpoint_seconds=0.03)
print("ready", flush=True)
pipeline.run(corpus, Slow(), target)
"""


@pytest.mark.parametrize("name", ["o.parquet", "o"])
def test_a_run_killed_again_and_again_ends_equal_to_an_undisturbed_one(tmp_path, name):
    source, out = write_corpus(tmp_path / "in.parquet", 4000), tmp_path / name
    extract(source, tmp_path / "whole.parquet")
    draw = random.Random(name)
    kills = 0
    while True:
        command = [sys.executable, "-c", SLOW_RUN, str(HERE), str(source), str(out)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            try:
                process.wait(timeout=draw.uniform(0.05, 0.4) if kills < 8 else 60)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
                if out.exists() and not is_under_way(out):
                    break  # killed after its last act: published and tidied up, so a rerun would refuse to overwrite
                continue
            assert process.returncode == 0, process.stderr.read()
        break
    assert kills >= 3
    assert pq.read_table(out).equals(pq.read_table(tmp_path / "whole.parquet"))
    assert {path.name for path in tmp_path.iterdir()} == {"in.parquet", "whole.parquet", name}


def run_killed_at(step: int, source: Path, out: Path, *, overwrite: bool) -> bool:
    def work() -> None:
        corpus = open_corpus([source], batch_rows=10, shard_rows=20)
        run(corpus, Capitals(), open_sink(out, corpus, Capitals(), overwrite=overwrite))

    return killed_at(step, work)


@pytest.mark.parametrize("name", ["o.parquet", "o"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_killed_before_any_single_step_can_be_finished(tmp_path, name, overwrite):
    source = write_corpus(tmp_path / "in.parquet", 50, row_group_size=20)
    extract(source, tmp_path / "whole.parquet")
    whole = pq.read_table(tmp_path / "whole.parquet")
    step, killed = 0, True
    while killed:
        step += 1
        folder = tmp_path / str(step)
        folder.mkdir()
        if overwrite:
            extract(source, folder / name, Capitals("old"))
        killed = run_killed_at(step, source, folder / name, overwrite=overwrite)
        if (folder / name).exists():
            assert pq.read_table(folder / name).equals(whole)
        if killed:
            assert not run_killed_at(0, source, folder / name, overwrite=overwrite)
        assert pq.read_table(folder / name).equals(whole)
        assert [path.name for path in folder.iterdir()] == [name]
    assert step > 8


# Dry run


def test_a_dry_run_counts_and_estimates_and_writes_nothing(tmp_path):
    source = write_corpus(tmp_path / "in.parquet", 3000)
    texts = pq.read_table(source).column("text").to_pylist()
    corpus = open_corpus([source], batch_rows=100)
    counted = dry_run(corpus)
    assert (counted.rows, counted.texts) == (3000, sum(text is not None for text in texts))
    assert counted.characters == sum(len(text or "") for text in texts)
    assert (counted.tokens, counted.seconds) == (None, None)

    class Timed(Capitals):
        def extract(self, texts):
            time.sleep(0.001 * len(texts))
            return super().extract(texts)

    estimated = dry_run(corpus, Timed())
    assert estimated.tokens == pytest.approx(sum(len((text or "").split()) for text in texts), rel=0.3)
    assert 1 < estimated.seconds < 20
    assert estimated.to_dict()["rows"] == 3000
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


# Memory

# Not ru_maxrss: across fork and exec it begins with the peak of the parent, which here is pytest's.
PEAK_OF_A_RUN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from capitals import Capitals
from sinks import open_sink
from nerx.engine.reading.corpus import open_corpus
from nerx.engine.run.pipeline import run

corpus = open_corpus([sys.argv[2]])
extractor = Capitals()
summary = run(corpus, extractor, open_sink(Path(sys.argv[3]), corpus, extractor))
print(summary.rows, Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


def peak_of_a_run(source: Path, out: Path) -> tuple[int, int]:
    """(rows, peak resident KiB) of a run in a process of its own."""
    command = [sys.executable, "-c", PEAK_OF_A_RUN, str(HERE), str(source), str(out)]
    rows, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(rows), int(peak)


@pytest.mark.slow
@pytest.mark.parametrize("row_group_size", [50_000, 1_000_000])
@pytest.mark.parametrize("name", ["o.parquet", "o"])
def test_memory_does_not_grow_with_the_corpus(tmp_path, record_property, row_group_size, name):
    def write(path: Path, count: int) -> Path:
        schema = pa.schema([("id", pa.int64()), ("text", pa.string()), ("url", pa.string())])
        with pq.ParquetWriter(path, schema) as writer:
            for first in range(0, count, row_group_size):
                numbers = range(first, min(count, first + row_group_size))
                texts = [
                    f"Order {n} of {n * 7919 % 9973} crates left Port {n * 104729 % 7907} at noon" for n in numbers
                ]
                urls = [f"https://example.org/{n * 15485863 % 32452843}" for n in numbers]
                writer.write_table(pa.table([numbers, texts, urls], schema=schema), row_group_size=row_group_size)
        return path

    small, large = write(tmp_path / "small.parquet", 50_000), write(tmp_path / "large.parquet", 1_000_000)
    few, base = peak_of_a_run(small, tmp_path / f"small-{name}")
    many, peak = peak_of_a_run(large, tmp_path / f"large-{name}")
    assert (few, many) == (50_000, 1_000_000)
    assert peak <= 1.2 * base, f"{base / 1024:.0f} MiB at 50,000 rows, {peak / 1024:.0f} MiB at 1,000,000"
    record_property("MiB at 50,000 rows and at 1,000,000", (base // 1024, peak // 1024))
    assert base < 400 * 1024  # else something was loaded that a run does not need, and hides growth
    before = pq.ParquetFile(large)
    after = pq.ParquetFile(tmp_path / f"large-{name}") if name == "o.parquet" else None
    if after is not None:
        assert before.read().equals(after.read(columns=["id", "text", "url"]))
