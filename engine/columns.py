"""The two columns nerx adds, and what must hold of them: built from flat lists, checked against the very text stored.

The one place between a model's spans and what a user reads; a wrong span stops here.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from .errors import NerxError
from .span import Extraction, Span

ENTITY = pa.struct(
    [
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("label", pa.string()),
        ("text", pa.string()),
        ("score", pa.float32()),
    ]
)
ENTITIES = pa.field("entities", pa.list_(ENTITY))
"""Null: not processed (null text, or an error). Empty: nothing found. Offsets are Unicode code points, half-open."""
ERROR = pa.field("nerx_error", pa.string())
"""Why a row was not processed; null when it was, or when its text is null."""

OFFSET_UNIT = "unicode code points"
"""Of `start` and `end`, as every output says of itself."""

NOT_UTF8 = "the text is not valid UTF-8"


def column_texts(column: pa.Array) -> list[str | None]:
    """The values of a string column of any kind; None for a null and for bytes that are no UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return [_decoded(value) for value in column.cast(pa.large_binary()).to_pylist()]


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def settle(column: pa.Array, texts: Sequence[str | None], extractions: Sequence[Extraction]) -> list[Extraction]:
    """`extractions` with the rows failed that must not pass: undecodable texts, and texts not read to their end.

    `texts` are those of `column`. Raises NerxError when there is not one extraction a text.
    """
    if len(extractions) != len(texts):
        raise NerxError(f"{len(texts)} texts gave {len(extractions)} extractions")
    settled = list(extractions)
    for row, (text, extraction) in enumerate(zip(texts, extractions, strict=True)):
        if text is None:
            if column[row].is_valid:
                settled[row] = Extraction(None, NOT_UTF8)
        elif extraction.spans is not None and extraction.characters != len(text):
            reason = f"only {extraction.characters:,} of {len(text):,} characters were read"
            settled[row] = replace(extraction, spans=None, error=reason)
    return settled


def entity_columns(texts: Sequence[str | None], extractions: Sequence[Extraction]) -> tuple[pa.Array, pa.Array]:
    """The `entities` and `nerx_error` arrays for `texts`, row by row.

    Raises NerxError unless every span lies inside its text, spans are sorted and do not overlap, every text has either
    spans or an error, and no null text has spans.
    """
    starts: list[int] = []
    ends: list[int] = []
    labels: list[str] = []
    mentions: list[str] = []
    scores: list[float] = []
    offsets, nulls = [0], []
    for row, (text, extraction) in enumerate(zip(texts, extractions, strict=True)):
        _check_row(row, text, extraction)
        for span in extraction.spans or ():
            starts.append(span.start)
            ends.append(span.end)
            labels.append(span.label)
            mentions.append((text or "")[span.start : span.end])
            scores.append(span.score)
        offsets.append(len(starts))
        nulls.append(extraction.spans is None)
    values = pa.StructArray.from_arrays(
        [
            pa.array(starts, pa.int32()),
            pa.array(ends, pa.int32()),
            pa.array(labels, pa.string()),
            pa.array(mentions, pa.string()),
            pa.array(scores, pa.float32()),
        ],
        fields=list(ENTITY),
    )
    entities = pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), values, type=ENTITIES.type, mask=pa.array(nulls, pa.bool_())
    )
    return entities, pa.array([extraction.error for extraction in extractions], pa.string())


def stored(entities: pa.Array, texts: Sequence[str | None], errors: pa.Array) -> list[Extraction]:
    """What `entity_columns` was given, from what it made."""
    found = []
    for text, spans, error in zip(texts, entities.to_pylist(), errors.to_pylist(), strict=True):
        read = None if spans is None else tuple(Span(s["start"], s["end"], s["label"], s["score"]) for s in spans)
        found.append(Extraction(read, error, len(text or "") if read is not None else 0))
    return found


def _check_row(row: int, text: str | None, extraction: Extraction) -> None:
    """What the promises about offsets rest on; messages hold positions and never the text."""
    spans = extraction.spans
    if spans is None:
        if text is not None and extraction.error is None:
            raise NerxError(f"row {row} of the batch: has a text but neither entities nor an error")
        return
    if text is None or extraction.error is not None:
        raise NerxError(f"row {row} of the batch: has entities and {'no text' if text is None else 'an error'}")
    before = 0
    for span in spans:
        if not before <= span.start < span.end <= len(text):
            raise NerxError(
                f"row {row} of the batch: entity [{span.start}, {span.end}) is empty, out of order, "
                f"overlapping, or outside its text of {len(text)} characters"
            )
        if not span.label or not (math.isfinite(span.score) and 0.0 <= span.score <= 1.0 + 1e-6):
            raise NerxError(f"row {row} of the batch: entity with label {span.label!r} and score {span.score}")
        before = span.end
