"""Failed rows are tried again, and nothing else is touched."""

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from capitals import POISON, Capitals
from grown import OPTIONS
from killing import killed_at
from sinks import open_sink
from test_pipeline import everything

from nerx.engine.errors import OutputError, OutputLockedError
from nerx.engine.origin import Origin
from nerx.engine.reading.corpus import open_corpus
from nerx.engine.run.pipeline import run
from nerx.engine.run.retry import FailedRows
from nerx.engine.run.summary import RetrySummary
from nerx.engine.writing.lock import OutputLock
from nerx.engine.writing.part import output_tally
from nerx.engine.writing.place import lock_file, staging_folder

OUTPUTS = pytest.mark.parametrize("name", ["out.parquet", "out"])


class Recovered(Capitals):
    """The same model with enough memory: nothing poisons it."""

    def _extract(self, text):
        return super()._extract(None if text is None else text.replace(POISON, POISON.title()))


def make_output(folder: Path, name: str, count: int = 100, every: int = 7, shard_rows: int = 30) -> Path:
    """Every `every`-th row of the first 60 fails; later rows are fine."""
    texts = [
        None if n % 11 == 5 else f"Row {n} {POISON if n % every == 0 and n < 60 else 'Fine'}" for n in range(count)
    ]
    pq.write_table(pa.table({"id": range(count), "text": texts}), folder / "in.parquet", row_group_size=30)
    return extract(folder / "in.parquet", folder / name, Capitals(), shard_rows=shard_rows)


def extract(source: Path, out: Path, extractor: Capitals, base_digest: str = "", **options) -> Path:
    corpus, origin = open_corpus([source], batch_rows=10, **options), {"base_digest": base_digest}
    run(corpus, extractor, open_sink(out, corpus, extractor, options=OPTIONS, provenance=origin))
    return out


def retry(out: Path, extractor: Capitals, **options) -> RetrySummary:
    with FailedRows(out) as failed:
        failed.require_made_with(Origin(extractor.digest, OPTIONS))
        return failed.retry(extractor, **options)


@OUTPUTS
def test_failed_rows_come_out_as_if_they_had_never_failed(tmp_path, name):
    out = make_output(tmp_path, name)
    before, files = pq.read_table(out), [out] if out.is_file() else sorted(out.iterdir())
    marks = {path: path.stat().st_ino for path in files}
    failed = [row["id"] for row in before.to_pylist() if row["nerx_error"]]
    extractor = Recovered()
    summary = retry(out, extractor)
    assert (summary.rows, summary.retried, summary.recovered, summary.failures) == (100, len(failed), len(failed), 0)
    assert extractor.texts == len(failed) == 8
    after = pq.read_table(out)
    assert after.schema.equals(before.schema, check_metadata=True)
    assert after.drop_columns(["entities", "nerx_error"]).equals(before.drop_columns(["entities", "nerx_error"]))
    assert after.column("nerx_error").null_count == 100
    for old, new in zip(before.to_pylist(), after.to_pylist(), strict=True):
        assert new["id"] in failed or new == old
    whole = extract(tmp_path / "in.parquet", tmp_path / f"whole-{name}", Recovered(), shard_rows=30)
    assert after.equals(pq.read_table(whole))
    ours, theirs = output_tally(out), output_tally(whole)
    for field in ("rows", "texts", "entities", "entities_per_label", "failures", "characters_in", "characters_read"):
        assert getattr(ours, field) == getattr(theirs, field), field
    untouched = [path for path in files if path.stat().st_ino == marks[path]]
    assert len(untouched) == (0 if name == "out.parquet" else 2)
    assert {path.name for path in tmp_path.iterdir()} == {"in.parquet", name, f"whole-{name}"}


def test_rows_that_fail_again_keep_an_error(tmp_path):
    out = make_output(tmp_path, "out.parquet")
    before = pq.read_table(out)
    summary = retry(out, Capitals())
    assert (summary.retried, summary.recovered, summary.failures) == (8, 0, 8)
    assert pq.read_table(out).equals(before)
    assert output_tally(out).failures == 8


def test_every_type_of_column_is_kept(tmp_path):
    table = everything().append_column("n", pa.array([1, 2, 3]))
    table = table.set_column(0, table.schema.field(0), pa.array([f"Ada {POISON}", None, ""], pa.large_string()))
    pq.write_table(table, tmp_path / "in.parquet")
    out = extract(tmp_path / "in.parquet", tmp_path / "out.parquet", Capitals())
    assert retry(out, Recovered()).recovered == 1
    before, after = (pq.ParquetFile(tmp_path / name).read() for name in ("in.parquet", "out.parquet"))
    assert after.select(before.column_names).equals(before)
    assert [entity["text"] for entity in after.column("entities").to_pylist()[0]] == ["Ada", POISON]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_texts_of_every_string_type_are_retried(tmp_path, kind):
    texts = pa.array(["Ada", f"Bob {POISON}", None, f"Eve {POISON}"], pa.string())
    column = texts.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else texts.cast(kind)
    pq.write_table(pa.table({"text": column}), tmp_path / "in.parquet")
    out = extract(tmp_path / "in.parquet", tmp_path / "out.parquet", Capitals())
    assert retry(out, Recovered()).recovered == 2
    assert pq.ParquetFile(out).read().column("entities").to_pylist()[3][0]["text"] == "Eve"


def test_a_text_that_is_no_utf8_fails_again_and_says_why(tmp_path):
    data = pa.array([b"Ada", b"caf\xe9"], pa.binary())
    text = pa.StringArray.from_buffers(2, data.buffers()[1], data.buffers()[2])
    pq.write_table(pa.table({"text": text}), tmp_path / "in.parquet")
    out = extract(tmp_path / "in.parquet", tmp_path / "out.parquet", Capitals())
    assert retry(out, Recovered()).failures == 1
    errors = pq.read_table(out, columns=["nerx_error"]).column(0).to_pylist()
    assert errors == [None, "the text is not valid UTF-8"]


@OUTPUTS
def test_a_stopped_retry_keeps_what_it_did(tmp_path, name):
    out = make_output(tmp_path, name, count=2000, every=2, shard_rows=500)
    failures = output_tally(out).failures
    answers = iter([True])
    summary = retry(out, Recovered(), stop=lambda: next(answers, False))
    assert summary.interrupted
    assert summary.failures + summary.recovered == failures
    assert output_tally(out).failures == summary.failures
    assert pq.read_table(out).column("id").to_pylist() == list(range(2000))
    assert retry(out, Recovered()).failures == 0
    assert pq.read_table(out).equals(
        pq.read_table(extract(tmp_path / "in.parquet", tmp_path / f"whole-{name}", Recovered(), shard_rows=500))
    )


@OUTPUTS
def test_a_retry_killed_before_any_single_step_is_completed_by_the_next(tmp_path, name):
    make_output(tmp_path, name)
    whole = pq.read_table(extract(tmp_path / "in.parquet", tmp_path / f"whole-{name}", Recovered(), shard_rows=30))
    step, killed = 0, True
    while killed:
        step += 1
        folder = tmp_path / str(step)
        folder.mkdir()
        out = folder / name
        (shutil.copytree if (tmp_path / name).is_dir() else shutil.copy)(tmp_path / name, out)
        killed = killed_at(step, lambda out=out: retry(out, Recovered()))
        assert pq.read_table(out).column("id").to_pylist() == list(range(100))
        if killed:
            retry(out, Recovered())
        assert pq.read_table(out).equals(whole)
        assert os.listdir(folder) == [name]  # noqa: PTH208
    assert step > 4


def test_only_what_was_made_the_same_way_is_retried(tmp_path):
    out = make_output(tmp_path, "out.parquet")
    with pytest.raises(OutputError, match=r"was made differently .adapter: 00000000 -> 11111111"):
        retry(out, Recovered("1" * 32))
    with pytest.raises(OutputError, match=r"in\.parquet: not an output of nerx"):
        retry(tmp_path / "in.parquet", Recovered())
    with pytest.raises(OutputError, match="no such output"):
        retry(tmp_path / "nothing", Recovered())
    with OutputLock(lock_file(out), out), pytest.raises(OutputLockedError):
        retry(out, Recovered())
    staging_folder(out).mkdir()
    with pytest.raises(OutputError, match="is not finished"):
        retry(out, Recovered())
