"""Extraction from a frame in memory: a polars DataFrame or an Arrow Table. The result has two more columns."""

from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

from ..columns import ENTITIES, ERROR, choose_text_column, column_texts, outcome, require_free_names
from ..reading.corpus import BATCH_ROWS
from .pipeline import TextExtractor

if TYPE_CHECKING:
    import polars

Frame = TypeVar("Frame", "pa.Table", "polars.DataFrame")


def extract_frame(frame: Frame, extractor: TextExtractor, *, text_column: str | None = None) -> Frame:
    """`frame` with two more columns, `entities` and `nerx_error`. Its own columns stay as they are.

    nerx finds `text_column` as :func:`~..reading.corpus.open_corpus` does. Raises CorpusError for a frame without such
    a column, and for one that already has one of the two. Raises TypeError for another kind of frame.
    """
    if isinstance(frame, pa.Table):
        entities, errors = _extract(frame.column(_text_column(frame.schema, text_column)), extractor)
        table: Frame = frame.append_column(ENTITIES, entities).append_column(ERROR, errors)
        return table
    import polars  # here: people with Arrow tables need no polars

    if not isinstance(frame, polars.DataFrame):
        kind = f"{type(frame).__module__}.{type(frame).__name__}"
        raise TypeError(f"a polars DataFrame or a pyarrow Table is needed, not {kind}")
    # Columns of Python objects have no Arrow type, and need none.
    known = frame.select(polars.selectors.exclude(polars.selectors.by_dtype(polars.Object)))
    name = _text_column(known.head(0).to_arrow().schema, text_column)
    entities, errors = _extract(frame.get_column(name).to_frame().to_arrow().column(0), extractor)
    found = pa.table([entities, errors], schema=pa.schema([ENTITIES, ERROR]))
    return frame.hstack(polars.DataFrame(found))


def _text_column(schema: pa.Schema, wanted: str | None) -> str:
    require_free_names(schema.names, "the frame")
    return choose_text_column(schema, wanted)


def _extract(column: pa.ChunkedArray, extractor: TextExtractor) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    entities: list[pa.Array] = []
    errors: list[pa.Array] = []
    for start in range(0, len(column), BATCH_ROWS):
        part = column.slice(start, BATCH_ROWS).combine_chunks()
        done = outcome(part, extractor.extract(column_texts(part)))
        entities.append(done.entities)
        errors.append(done.errors)
    return pa.chunked_array(entities, ENTITIES.type), pa.chunked_array(errors, ERROR.type)
