"""Frames in memory come back as they were, with two columns more."""

import polars as pl
import pyarrow as pa
import pytest
from capitals import POISON, Capitals
from polars.testing import assert_frame_equal

from nerx.engine.errors import CorpusError
from nerx.engine.run.frame import extract_frame

TEXTS = ["Ada met Bob", None, "", f"{POISON}", "nobody"]
FOUND = [["Ada", "Bob"], None, [], None, []]
ERRORS = [None, None, None, "cannot be processed", None]


def mentions(entities: list) -> list:
    return [None if row is None else [entity["text"] for entity in row] for row in entities]


def test_a_polars_frame_comes_back_with_entities():
    frame = pl.DataFrame(
        {
            "n": range(5),
            "kind": pl.Series(["a", "b", None, "a", "b"], dtype=pl.Categorical),
            "object": pl.Series([object()] * 5, dtype=pl.Object),
            "text": TEXTS,
        }
    )
    found = extract_frame(frame, Capitals())
    assert isinstance(found, pl.DataFrame)
    assert found.columns == ["n", "kind", "object", "text", "entities", "nerx_error"]
    assert found.schema["entities"] == pl.List(
        pl.Struct({"start": pl.Int32, "end": pl.Int32, "label": pl.String, "text": pl.String, "score": pl.Float32})
    )
    assert_frame_equal(found.select("n", "kind", "text"), frame.select("n", "kind", "text"))
    assert mentions(found["entities"].to_list()) == FOUND
    assert found["nerx_error"].to_list() == ERRORS


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_an_arrow_table_comes_back_with_entities(kind):
    text = pa.array(TEXTS)
    text = text.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else text.cast(kind)
    schema = pa.schema([pa.field("n", pa.int8(), metadata={"a": "b"}), pa.field("text", kind)], metadata={"k": "v"})
    table = pa.concat_tables([pa.table([list(range(5)), text], schema=schema)] * 2)
    found = extract_frame(table, Capitals())
    assert isinstance(found, pa.Table)
    assert found.select(["n", "text"]).equals(table, check_metadata=True)
    assert mentions(found.column("entities").to_pylist()) == FOUND * 2
    assert found.column("nerx_error").to_pylist() == ERRORS * 2


def test_many_rows_are_worked_on_in_batches():
    class Counting(Capitals):
        largest = 0

        def extract(self, texts):
            self.largest = max(self.largest, len(texts))
            return super().extract(texts)

    extractor = Counting()
    found = extract_frame(pl.DataFrame({"text": ["One"] * 5000}), extractor)
    assert found["entities"].list.len().sum() == 5000
    assert extractor.largest < 5000


@pytest.mark.parametrize("make", [pl.DataFrame, pa.table])
def test_frames_without_rows_keep_their_schema(make):
    frame = make({"text": pa.array([], pa.string())})
    assert extract_frame(frame, Capitals()).shape == (0, 3)


@pytest.mark.parametrize("make", [pl.DataFrame, pa.table])
@pytest.mark.parametrize(
    ("columns", "wanted", "message"),
    [
        ({"a": ["x"], "b": ["y"]}, None, "2 string columns and none is called 'text'"),
        ({"a": ["x"], "b": [1]}, "b", "column 'b' is int64, not a string; columns: a ("),
        ({"a": ["x"]}, "body", "no column 'body'"),
        ({"a": ["x"], "entities": [1]}, None, "the frame has a column 'entities' already"),
    ],
)
def test_wrong_frames_are_refused(make, columns, wanted, message):
    with pytest.raises(CorpusError) as caught:
        extract_frame(make(columns), Capitals(), text_column=wanted)
    assert message in str(caught.value)


def test_other_kinds_of_frame_are_named():
    with pytest.raises(TypeError, match=r"a polars DataFrame or a pyarrow Table is needed, not builtins\.dict"):
        extract_frame({"text": ["a"]}, Capitals())
