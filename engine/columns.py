"""The two columns nerx adds, and what must hold of them: built from flat lists, checked against the very text stored.

The one place between a model's spans and what a user reads; a wrong span stops here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from .errors import NerxError
from .span import Extraction, Span, broken_rule
from .tally import Tally

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

NOT_UTF8 = "the text is not valid UTF-8"
HALF_CHARACTER = "the text holds half of a surrogate pair, which UTF-8 cannot store"

SURROGATES = {b"nerx.surrogates": b"in UTF-8"}
"""Metadata of a batch whose texts may hold halves of surrogate pairs, encoded as if they were characters."""


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


def storable(batch: pa.RecordBatch) -> pa.RecordBatch:
    """`batch` as Parquet can hold it: in one that is marked with SURROGATES, each half is spelled as JSON does."""
    marked = batch.schema.metadata or {}
    if not SURROGATES.items() <= marked.items():
        return batch
    columns = [_spelled(column) if pa.types.is_string(column.type) else column for column in batch.columns]
    kept = {name: value for name, value in marked.items() if name not in SURROGATES}
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema.with_metadata(kept))


def _spelled(column: pa.Array) -> pa.Array:
    values = column.cast(pa.binary()).to_pylist()
    return pa.array([value if value is None else _escaped(value) for value in values], pa.string())


def _escaped(value: bytes) -> str:
    return value.decode(errors="surrogatepass").encode(errors="backslashreplace").decode()


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
                settled[row] = Extraction(None, _why_unreadable(column[row]))
        elif extraction.spans is not None and extraction.characters != len(text):
            reason = f"only {extraction.characters:,} of {len(text):,} characters were read"
            settled[row] = replace(extraction, spans=None, error=reason)
    return settled


def _why_unreadable(text: pa.Scalar) -> str:
    try:
        text.cast(pa.large_binary()).as_py().decode(errors="surrogatepass")
    except UnicodeDecodeError:
        return NOT_UTF8
    return HALF_CHARACTER


def entity_columns(texts: Sequence[str | None], extractions: Sequence[Extraction]) -> tuple[pa.Array, pa.Array]:
    """The `entities` and `nerx_error` arrays for `texts`, row by row.

    Raises NerxError, with the row's place in the batch, when one breaks a rule of :func:`~.span.broken_rule`.
    """
    starts: list[int] = []
    ends: list[int] = []
    labels: list[str] = []
    mentions: list[str] = []
    scores: list[float] = []
    offsets, nulls = [0], []
    for row, (text, extraction) in enumerate(zip(texts, extractions, strict=True)):
        if problem := broken_rule(extraction, text, has_text=text is not None):
            raise NerxError(f"row {row} of the batch: {problem}")
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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch of texts: the columns `entities` and `nerx_error`, and the counts of both."""

    entities: pa.Array
    errors: pa.Array
    tally: Tally


def outcome(column: pa.Array, extractions: Sequence[Extraction]) -> Outcome:
    """`extractions` of the texts in `column`, settled, checked and counted. Raises NerxError."""
    texts = column_texts(column)
    settled = settle(column, texts, extractions)
    return Outcome(*entity_columns(texts, settled), Tally.of(texts, settled))


def stored(entities: pa.Array, texts: Sequence[str | None], errors: pa.Array) -> list[Extraction]:
    """What `entity_columns` was given, from what it made."""
    found = []
    for text, spans, error in zip(texts, entities.to_pylist(), errors.to_pylist(), strict=True):
        read = None if spans is None else tuple(Span(s["start"], s["end"], s["label"], s["score"]) for s in spans)
        found.append(Extraction(read, error, len(text or "") if read is not None else 0))
    return found
