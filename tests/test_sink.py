"""The output is there whole or not at all, belongs to one run, and holds no span that is not in its text."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from capitals import Capitals
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from sinks import open_sink

from nerx.engine.columns import ENTITIES, entity_columns, settle
from nerx.engine.errors import NerxError, OutputError, OutputLockedError
from nerx.engine.origin import Origin, differences
from nerx.engine.reading.corpus import Corpus, open_corpus
from nerx.engine.run.pipeline import run
from nerx.engine.span import Extraction, Span
from nerx.engine.writing.atomic import AtomicFile
from nerx.engine.writing.local import LocalOutput
from nerx.engine.writing.output import check_output
from nerx.engine.writing.part import output_tally
from nerx.engine.writing.place import staging_folder
from nerx.engine.writing.sink import Sink


def make_corpus(folder: Path, count: int = 100, *, shard_rows: int = 30, **options) -> Corpus:
    path = folder / "in.parquet"
    if not path.exists():
        pq.write_table(pa.table({"id": range(count), "text": [f"Text {n} Here" for n in range(count)]}), path)
    return open_corpus([path], shard_rows=shard_rows, batch_rows=8, **options)


def make_sink(
    corpus: Corpus, out: Path, *, overwrite: bool = False, checkpoint_seconds: float = 60, adapter: str = "", **origin
) -> Sink:
    return Sink(
        LocalOutput(out),
        corpus,
        Origin(adapter, **origin),
        overwrite=overwrite,
        checkpoint_seconds=checkpoint_seconds,
    )


def fill(corpus: Corpus, sink: Sink, *, shards: int | None = None, batches: int | None = None) -> None:
    """Work on at most `shards` shards and `batches` batches of each."""
    extractor = Capitals()
    for shard in list(sink.pending(corpus.shards()))[:shards]:
        with sink.writer(shard) as writer:
            for batch in list(corpus.batches(shard))[:batches]:
                writer.add(batch, extractor.extract(corpus.texts(batch)))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


OUTPUTS = pytest.mark.parametrize("name", ["out.parquet", "out"])


@OUTPUTS
def test_the_output_appears_only_when_it_is_whole(tmp_path, name):
    corpus, out = make_corpus(tmp_path), tmp_path / name
    sink = make_sink(corpus, out)
    with sink:
        fill(corpus, sink, shards=3)
        assert not out.exists()
        with pytest.raises(NerxError, match=r"shard 3 has 0 of its \d+ rows"):
            sink.finish(corpus.shards())
        assert not out.exists()
        fill(corpus, sink)
        sink.finish(corpus.shards())
    assert names(tmp_path) == {"in.parquet", name}
    assert pq.read_table(out).column("id").to_pylist() == list(range(100))
    assert output_tally(out).rows == 100


def test_a_folder_has_a_part_for_every_shard(tmp_path):
    corpus, out = make_corpus(tmp_path), tmp_path / "out"
    with (sink := make_sink(corpus, out, checkpoint_seconds=0)):
        fill(corpus, sink)
        sink.finish(corpus.shards())
    parts = sorted(out.iterdir())
    assert [part.name for part in parts] == [f"part-0000{number}.parquet" for number in range(4)]
    assert [pq.read_metadata(part).num_rows for part in parts] == [shard.rows for shard in corpus.shards()]


@OUTPUTS
def test_small_pieces_are_joined_to_large_row_groups(tmp_path, name):
    corpus, out = make_corpus(tmp_path, 1000, shard_rows=100), tmp_path / name
    with (sink := make_sink(corpus, out, checkpoint_seconds=0)):
        fill(corpus, sink)
        assert len(list(staging_folder(out).glob("part-*"))) > 100
        sink.finish(corpus.shards())
    files = [out] if out.is_file() else list(out.iterdir())
    assert all(pq.read_metadata(file).num_row_groups == 1 for file in files)


def test_a_corpus_without_rows_gives_an_output_without_rows(tmp_path):
    for name in ("out.parquet", "out"):
        corpus = make_corpus(tmp_path, 0)
        summary = run(corpus, Capitals(), make_sink(corpus, tmp_path / name))
        assert summary.rows == 0
        assert pq.read_table(tmp_path / name).schema.names == ["id", "text", "entities", "nerx_error"]


def test_a_failing_shard_keeps_its_checkpoints_and_nothing_else(tmp_path):
    corpus, out = make_corpus(tmp_path), tmp_path / "out.parquet"
    sink = make_sink(corpus, out)
    shard = corpus.shards()[0]
    first, second, *_ = corpus.batches(shard)

    def fail_after_a_checkpoint():
        with sink.writer(shard) as writer:
            writer.add(first, Capitals().extract(corpus.texts(first)))
            writer.checkpoint()
            writer.add(second, Capitals().extract(corpus.texts(second)))
            raise RuntimeError

    with sink, pytest.raises(RuntimeError):
        fail_after_a_checkpoint()
    with make_sink(corpus, out) as again:
        assert next(iter(again.pending(corpus.shards()))).skip == first.num_rows
        assert again.tally().rows == first.num_rows
    assert not list(staging_folder(out).glob("*.tmp"))


def test_a_failed_write_leaves_the_name_free(tmp_path):
    def fail():
        with AtomicFile(tmp_path / "a") as temporary:
            temporary.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert names(tmp_path) == set()


def test_more_rows_than_the_shard_has_are_a_fault(tmp_path):
    corpus = make_corpus(tmp_path)
    first, second, *_ = corpus.shards()
    too_many = [batch for shard in (first, second) for batch in corpus.batches(shard)]
    with make_sink(corpus, tmp_path / "out") as sink, sink.writer(first) as writer:
        for batch in too_many[: -(-first.rows // 8)]:
            writer.add(batch, Capitals().extract(corpus.texts(batch)))
        with pytest.raises(NerxError, match="more rows than"):
            writer.add(too_many[-1], Capitals().extract(corpus.texts(too_many[-1])))


# Who may write


@OUTPUTS
def test_an_existing_output_needs_overwrite_and_is_replaced_whole(tmp_path, name):
    out = tmp_path / name
    corpus = make_corpus(tmp_path)
    run(corpus, Capitals(), make_sink(corpus, out))
    with pytest.raises(OutputError, match="exists already; use --overwrite to replace it"):
        make_sink(corpus, out)
    before = pq.read_table(out)
    sink = make_sink(corpus, out, overwrite=True)
    with sink:
        assert len(list(sink.pending(corpus.shards()))) == len(corpus.shards())
        fill(corpus, sink, shards=3)
        assert pq.read_table(out).equals(before)
        fill(corpus, sink)
        sink.finish(corpus.shards())
    assert pq.read_table(out).equals(before)
    assert names(tmp_path) == {"in.parquet", name}


@OUTPUTS
def test_an_output_that_appears_during_the_run_is_not_replaced(tmp_path, name):
    corpus, out = make_corpus(tmp_path), tmp_path / name
    sink = make_sink(corpus, out)
    with sink:
        fill(corpus, sink)
        if name == "out":
            out.mkdir()
        (out / "part-00000.parquet" if name == "out" else out).write_text("somebody's")
        with pytest.raises(OutputError, match="exists already"):
            sink.finish(corpus.shards())


def test_only_folders_that_nerx_wrote_are_replaced(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    check_output(LocalOutput(out), overwrite=False)
    (out / "thesis.tex").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=r"holds 'thesis\.tex', which nerx did not write"):
            check_output(LocalOutput(out), overwrite=overwrite)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("in.parquet", "is or holds the input"),
        (".", "is or holds the input"),
        ("out.jsonl", "nerx writes Parquet; name a .parquet file"),
        ("folder.parquet", "is a folder; a .parquet name makes a file"),
        ("file", "is a file; a .parquet name makes a file"),
    ],
)
def test_places_that_cannot_be_an_output(tmp_path, name, message):
    corpus = make_corpus(tmp_path)
    (tmp_path / "folder.parquet").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError) as caught:
        open_sink(tmp_path / name, corpus, Capitals(), overwrite=True)
    assert message in str(caught.value)


def test_a_second_run_is_told_to_try_later(tmp_path):
    corpus, out = make_corpus(tmp_path), tmp_path / "out.parquet"
    with make_sink(corpus, out), pytest.raises(OutputLockedError, match="another run is writing it") as caught:
        make_sink(corpus, out).__enter__()
    assert caught.value.exit_code == 75
    with make_sink(corpus, out):
        pass
    holder = "import sys, time, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print(1, flush=True); "
    command = [sys.executable, "-c", holder + "time.sleep(60)", str(tmp_path / ".out.parquet.nerx-lock")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with process:
        process.stdout.readline()
        try:
            with pytest.raises(OutputLockedError):
                make_sink(corpus, out).__enter__()
        finally:
            process.kill()
    with make_sink(corpus, out):  # the lock of a dead process holds nobody up
        pass


def test_a_lock_file_that_was_removed_locks_nobody_in(tmp_path):
    """What the sink relies on when it removes its lock file while it holds the lock."""
    path = tmp_path / "lock"
    first, second = FileLock(path, timeout=0), FileLock(path, timeout=0)
    first.acquire()
    path.unlink()
    second.acquire()
    assert first.is_locked
    assert second.is_locked
    assert path.exists()


# Going on


def test_another_run_is_refused_and_what_changed_is_named(tmp_path):
    corpus, out = make_corpus(tmp_path), tmp_path / "out.parquet"
    with (sink := make_sink(corpus, out, adapter="a" * 32, options={"min_score": 0.0})):
        fill(corpus, sink, shards=2)
    with pytest.raises(OutputError) as caught, make_sink(corpus, out, adapter="b" * 32, options={"min_score": 0.5}):
        pass
    message = str(caught.value)
    assert "an unfinished run that differs (adapter: aaaaaaaa -> bbbbbbbb; options min_score: 0.0 -> 0.5)" in message
    assert "--overwrite" in message
    with make_sink(corpus, out, adapter="a" * 32, options={"min_score": 0.0}) as same:
        assert same.tally().rows == sum(shard.rows for shard in corpus.shards()[:2])
    with make_sink(corpus, out, adapter="c" * 32, overwrite=True) as other:
        assert other.tally().rows == 0


def test_a_changed_input_is_named(tmp_path):
    corpus, out = make_corpus(tmp_path), tmp_path / "out.parquet"
    with open_sink(out, corpus, Capitals()):
        pass
    os.utime(tmp_path / "in.parquet", (1, 1))
    changed = make_corpus(tmp_path)
    with pytest.raises(OutputError, match=r"differs \(input .*in.parquet: "), open_sink(out, changed, Capitals()):
        pass


def test_differences_are_listed_and_not_without_end():
    assert differences({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3, "d": 4}}) == ["b c: 2 -> 3", "b d added"]
    assert differences({str(n): 0 for n in range(9)}, {})[-1] == "and 4 more"


@OUTPUTS
def test_a_run_killed_between_publishing_and_tidying_up_is_done(tmp_path, name):
    corpus, out = make_corpus(tmp_path), tmp_path / name
    with (sink := make_sink(corpus, out, adapter="a")):
        fill(corpus, sink)
        pieces = {path.name: path.read_bytes() for path in staging_folder(out).iterdir()}
        sink.finish(corpus.shards())
    staging_folder(out).mkdir()
    for number, (piece, content) in enumerate(pieces.items()):
        if number % 2:
            (staging_folder(out) / piece).write_bytes(content)
    extractor = Capitals()
    summary = run(corpus, extractor, make_sink(corpus, out, adapter="a"))
    assert (summary.rows, summary.resumed_rows, extractor.texts) == (100, 100, 0)
    assert names(tmp_path) == {"in.parquet", name}


def test_a_damaged_piece_is_named(tmp_path):
    corpus, out = make_corpus(tmp_path), tmp_path / "out.parquet"
    with (sink := make_sink(corpus, out)):
        fill(corpus, sink, shards=2)
    piece = sorted(staging_folder(out).glob("part-*"))[0]
    piece.write_bytes(piece.read_bytes()[:-20])
    with make_sink(corpus, out) as again, pytest.raises(OutputError, match=f"{piece.name}: damaged"):
        again.tally()


def test_a_piece_of_another_run_is_named_and_not_taken(tmp_path):
    corpus, out = make_corpus(tmp_path), tmp_path / "out.parquet"
    other = tmp_path / "other.parquet"
    with (sink := make_sink(corpus, other, adapter="b")):
        fill(corpus, sink, shards=1)
    with (sink := make_sink(corpus, out, adapter="a")):
        fill(corpus, sink, shards=1)
    (piece,) = staging_folder(other).glob("part-*")
    (staging_folder(out) / piece.name).write_bytes(piece.read_bytes())
    extractor = Capitals()
    with pytest.raises(OutputError, match=f"{piece.name}: is a piece of another run; remove it and run again"):
        run(corpus, extractor, make_sink(corpus, out, adapter="a"))
    assert (extractor.texts, out.exists()) == (0, False)
    (staging_folder(out) / piece.name).unlink()
    assert run(corpus, extractor, make_sink(corpus, out, adapter="a")).rows == 100


# Places that fail


def test_a_full_disk_is_said_and_what_is_finished_is_kept(tmp_path):
    corpus, out = make_corpus(tmp_path, 20_000, shard_rows=5000), tmp_path / "out.parquet"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sink = make_sink(corpus, out)
    try:
        with sink:
            fill(corpus, sink, shards=2)
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
            with pytest.raises(
                OutputError, match=r"cannot be written \(.*what is finished is kept in .*run again to go on"
            ):
                fill(corpus, sink)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(staging_folder(out).glob("*.tmp"))
    assert run(corpus, Capitals(), make_sink(corpus, out)).resumed_rows == 10_000
    assert pq.read_table(out).column("id").to_pylist() == list(range(20_000))


def test_a_place_that_cannot_be_made_is_said(tmp_path):
    corpus = make_corpus(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"), make_sink(corpus, tmp_path / "file" / "out.parquet"):
        pass


# Entities


@settings(deadline=None)
@given(st.lists(st.none() | st.text(max_size=12), max_size=20), st.randoms(use_true_random=False))
def test_every_entity_is_the_text_at_its_offsets(texts, random):
    extractions = []
    for text in texts:
        cuts = sorted({random.randrange(len(text) + 1) for _ in range(6)}) if text else []
        spans = [Span(start, end, "L", random.random()) for start, end in zip(cuts[::2], cuts[1::2], strict=False)]
        extractions.append(Extraction(None if text is None else tuple(spans), None, len(text or "")))
    entities, errors = entity_columns(texts, extractions)
    assert entities.type == ENTITIES.type
    assert errors.null_count == len(texts)
    for text, extraction, found in zip(texts, extractions, entities.to_pylist(), strict=True):
        assert (found is None) == (text is None)
        for span, entity in zip(extraction.spans or (), found or [], strict=True):
            assert (entity["start"], entity["end"], entity["label"]) == span.key
            assert text[entity["start"] : entity["end"]] == entity["text"]


@pytest.mark.parametrize(
    "spans",
    [
        [Span(0, 9, "A")],
        [Span(-1, 2, "A")],
        [Span(1, 1, "A")],
        [Span(2, 3, "A"), Span(0, 1, "A")],
        [Span(0, 2, "A"), Span(1, 3, "A")],
        [Span(0, 2, "")],
        [Span(0, 2, "A", float("nan"))],
        [Span(0, 2, "A", 1.5)],
    ],
)
def test_a_wrong_span_stops_the_run_and_shows_no_text(spans):
    with pytest.raises(NerxError) as caught:
        entity_columns(["secret"[:4]], [Extraction(tuple(spans), None, 4)])
    assert "secr" not in str(caught.value)
    assert caught.value.exit_code == 1


def test_rows_are_either_processed_or_say_why_not():
    for text, extraction in [("a", Extraction(None)), (None, Extraction(())), ("a", Extraction((), "error"))]:
        with pytest.raises(NerxError):
            entity_columns([text], [extraction])


def test_texts_not_read_to_their_end_or_not_readable_fail():
    column = pa.StringArray.from_buffers(
        3, pa.array([0, 2, 4, 4], pa.int32()).buffers()[1], pa.py_buffer(b"ok\xff\xfe"), pa.py_buffer(b"\x03")
    )
    texts = ["ok", None, None]
    settled = settle(column, texts, [Extraction((), None, 1), Extraction(None), Extraction(None)])
    assert [item.error for item in settled] == ["only 1 of 2 characters were read", "the text is not valid UTF-8", None]
    assert all(item.spans is None for item in settled)
