"""The text column that nerx reads, and the two columns that it adds.

It builds these from flat lists and checks each span against the stored text.

Every span passes here on its way from the model to the user, and a wrong one stops here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from .errors import CorpusError, NerxError
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


def require_free_names(names: Iterable[str], where: str) -> None:
    """Raises CorpusError when a column has a name that nerx adds, or one that DuckDB and Spark take for the same."""
    added = {field.name.casefold(): field.name for field in (ENTITIES, ERROR)}
    for name in names:
        if taken := added.get(name.casefold()):
            same = (
                "which nerx adds" if name == taken else f"and nerx adds {taken!r}: DuckDB and Spark tell no case apart"
            )
            raise CorpusError(
                f"{where} has a column {name!r} already, {same}; is this an output of nerx? Otherwise rename the column"
            )


def choose_text_column(schema: pa.Schema, wanted: str | None, *, besides: str | None = None) -> str:
    """`wanted`, or `text`, or the only string column (`besides` aside). Raises CorpusError listing the columns."""
    strings: list[str] = [field.name for field in schema if is_text(field.type) and field.name != besides]
    name = wanted or ("text" if "text" in schema.names else None)
    if name is None:
        if len(strings) == 1:
            return strings[0]
        found = "no string column" if not strings else f"{len(strings)} string columns and none is called 'text'"
        raise CorpusError(f"{found}; name one with --text-column. Columns: {_describe(schema)}")
    require_column(schema, name, "text")
    kind = schema.field(name).type
    if not is_text(kind) and not pa.types.is_null(kind):
        raise CorpusError(f"column {name!r} is {kind}, not a string; columns: {_describe(schema)}")
    return name


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds texts: string, large_string, string_view, or a dictionary of these."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def require_column(schema: pa.Schema, name: str, role: str) -> None:
    """Raises CorpusError when there is not exactly one column `name`; `role` says what for it was asked."""
    count = schema.names.count(name)
    if count != 1:
        found = "no column" if not count else f"{count} columns"
        raise CorpusError(f"{found} {name!r} (asked for as the {role} column); columns: {_describe(schema)}")


def _describe(schema: pa.Schema, most: int = 40) -> str:
    shown = [f"{field.name} ({field.type})" for field in list(schema)[:most]]
    return ", ".join(shown) + (f" and {len(schema) - most} more" if len(schema) > most else "") or "none"


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
    texts = [value if value is None else value.decode(errors="surrogatepass") for value in values]
    return pa.array([text if text is None else text.encode(errors="backslashreplace") for text in texts]).view(
        pa.string()
    )


def settle(column: pa.Array, texts: Sequence[str | None], extractions: Sequence[Extraction]) -> list[Extraction]:
    """`extractions`, where two kinds of rows become failed rows: text that is not UTF-8, and text not read to its end.

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
    """The result for a batch of texts: the columns `entities` and `nerx_error`, and their counts."""

    entities: pa.Array
    errors: pa.Array
    tally: Tally


def outcome(column: pa.Array, extractions: Sequence[Extraction]) -> Outcome:
    """Settle, check and count the `extractions` of the texts in `column`. Raises NerxError for a wrong span."""
    texts = column_texts(column)
    settled = settle(column, texts, extractions)
    return Outcome(*entity_columns(texts, settled), Tally.of(texts, settled))


def stored(entities: pa.Array, texts: Sequence[str | None], errors: pa.Array) -> list[Extraction]:
    """The inverse of `entity_columns`: the extractions behind its two columns."""
    found = []
    for text, spans, error in zip(texts, entities.to_pylist(), errors.to_pylist(), strict=True):
        read = None if spans is None else tuple(Span(s["start"], s["end"], s["label"], s["score"]) for s in spans)
        found.append(Extraction(read, error, len(text or "") if read is not None else 0))
    return found
