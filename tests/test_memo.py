"""Texts that come again: read once, with the same outcome for each, and the same after a stop."""

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st
from sinks import open_sink

from nerx.engine.reading.corpus import open_corpus
from nerx.engine.run import pipeline
from nerx.engine.run.memo import Memo
from nerx.engine.span import Extraction, Span


class Reader:
    """Marks the first character of every text, fails on texts with an exclamation mark, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []

    def __call__(self, texts):
        self.asked += texts
        return [self.one(text) for text in texts]

    def one(self, text):
        if not text:
            return Extraction(None) if text is None else Extraction(())
        if "!" in text:
            return Extraction(None, "loud")
        return Extraction((Span(0, 1, "first", 0.5),), None, len(text))


BATCHES = st.lists(st.lists(st.none() | st.sampled_from(["", "a", "b", "a!", "aa", "\ud800"]), max_size=6), max_size=5)


@given(BATCHES)
def test_the_outcome_is_that_of_reading_every_text(batches):
    memo, plain = Memo(Reader()), Reader()
    assert [memo.extract(batch) for batch in batches] == [plain(batch) for batch in batches]


@given(BATCHES)
def test_a_text_is_read_once_unless_it_failed(batches):
    reader = Reader()
    memo = Memo(reader)
    outcomes = [one for batch in batches for one in memo.extract(batch)]
    read = [text for text in reader.asked if text]
    assert all(read.count(text) == 1 for text in read if "!" not in text)
    loud = sum(text == "a!" for batch in batches for text in batch)
    quiet = sum(bool(text) for batch in batches for text in batch) - loud
    assert sum(one.repeats for one in outcomes) == quiet - len([text for text in read if "!" not in text])


@given(BATCHES, BATCHES)
def test_what_was_learned_from_finished_rows_is_as_good_as_what_was_read(before, after):
    undisturbed, first = Memo(Reader()), Reader()
    done = [undisturbed.extract(batch) for batch in before]
    resumed, second = Memo(first), Reader()
    for batch, extractions in zip(before, done, strict=True):
        resumed.learn(batch, extractions)
    undisturbed._extract = second
    assert [resumed.extract(batch) for batch in after] == [undisturbed.extract(batch) for batch in after]
    assert first.asked == second.asked


class Moody:
    """Its scores depend on what shares a batch, as those of a model do in the last bit."""

    digest = "moody"
    tokens = 0

    def __init__(self) -> None:
        self.read = 0

    def extract(self, texts):
        self.read += sum(map(bool, texts))
        share = 1 / (1 + len(texts))
        return [Extraction((Span(0, 1, "first", share),), None, len(t)) if t else Extraction(None) for t in texts]


def run(corpus, out, extractor, batches=None):
    left = iter(range(batches)) if batches is not None else iter(int, 1)
    return pipeline.run(corpus, extractor, open_sink(out, corpus, extractor), stop=lambda: next(left, None) is None)


def test_a_stopped_run_comes_to_the_same_bits(tmp_path):
    texts = [f"text {row * row % 23}" if row % 7 else None for row in range(200)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "in.parquet")
    corpus = open_corpus([tmp_path / "in.parquet"], batch_rows=10, shard_rows=80)
    summary = run(corpus, tmp_path / "whole.parquet", whole := Moody())
    assert summary.repeats + whole.read == summary.texts
    assert summary.repeats > 100
    for batches in (1, 5, 9, 13):
        out = tmp_path / f"{batches}.parquet"
        assert run(corpus, out, Moody(), batches).interrupted
        assert run(corpus, out, Moody()).repeats == summary.repeats
        assert pq.read_table(out).equals(pq.read_table(tmp_path / "whole.parquet"))
