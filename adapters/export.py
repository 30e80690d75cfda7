"""Knows the exports of annotation tools by their shape, to say which one a line comes from. Does not read them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Export:
    """A format of another tool. `jq` turns one of its records into a line that nerx reads; "" where jq cannot."""

    name: str
    jq: str
    fits: Callable[[Any], bool]

    def advice(self, whole_file: bool = False) -> str:
        """What to do with such a line, or with a file that is one JSON array of them."""
        if not self.jq:
            return "it counts in tokens, and nerx in characters: write each text with the offsets of its entities"
        return f"convert it, for example with: jq -c '{'.[] | ' * whole_file}{self.jq}'"


def foreign(value: object) -> str | None:
    """Which tool this JSON value comes from, and what to do; None where no tool is known by it."""
    export = _export_of(value)
    return f"this looks like an export of {export.name}; {export.advice()}" if export else None


def foreign_file(text: bytes, first_line: bytes) -> str | None:
    """What is wrong with a file that is one JSON value, and the command that makes lines of it, without its path.

    None for a file of lines, some of which may be arrays.
    """
    if not first_line.startswith(b"[") and first_line != b"{":
        return None
    if _export_of(_loaded(first_line)):
        return None
    value = _loaded(text)
    export = _export_of(value[0]) if isinstance(value, list) and value else None
    if export and export.jq:
        return f"this looks like an export of {export.name}; {export.advice(whole_file=True)}"
    return "one JSON value over the whole file; write one JSON object a line, for example with: jq -c '.[]'"


def _export_of(value: object) -> Export | None:
    return next((export for export in EXPORTS if export.fits(value)), None)


def _loaded(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_prodigy(value: Any) -> bool:
    return isinstance(value, dict) and (
        "_input_hash" in value or "_task_hash" in value or {"answer", "spans"} <= value.keys()
    )


def _is_label_studio(value: Any) -> bool:
    keys = {"annotations", "completions", "predictions"}
    return isinstance(value, dict) and isinstance(value.get("data"), dict) and bool(keys & value.keys())


def _is_label_studio_min(value: Any) -> bool:
    return isinstance(value, dict) and any(_holds(member, {"start", "end", "labels"}) for member in value.values())


def _is_doccano_relations(value: Any) -> bool:
    return isinstance(value, dict) and (
        _holds(value.get("entities"), {"start_offset", "end_offset"}) or {"relations", "entities"} <= value.keys()
    )


def _is_doccano(value: Any) -> bool:
    return isinstance(value, dict) and any(_holds_triples(value.get(key)) for key in ("label", "labels"))


def _is_spacy(value: Any) -> bool:
    pair = isinstance(value, list) and len(value) == 2
    return pair and isinstance(value[0], str) and isinstance(value[1], dict) and "entities" in value[1]


def _is_gliner(value: Any) -> bool:
    return isinstance(value, dict) and "tokenized_text" in value


def _is_tagged_tokens(value: Any) -> bool:
    return isinstance(value, dict) and "tokens" in value and "text" not in value


def _holds(value: object, keys: set[str]) -> bool:
    """Whether `value` is a list of objects that have these keys, among others."""
    return (
        isinstance(value, list) and bool(value) and all(isinstance(one, dict) and keys <= one.keys() for one in value)
    )


def _holds_triples(value: object) -> bool:
    """Whether `value` is a list of `[start, end, label]`."""
    return isinstance(value, list) and bool(value) and all(map(_is_triple, value))


def _is_triple(value: object) -> bool:
    return isinstance(value, list) and [type(part) for part in value] == [int, int, str]


_TRIPLE = "{start: .[0], end: .[1], label: .[2]}"

EXPORTS = (
    Export(
        "Prodigy",
        'select(.answer != "reject" and .answer != "ignore") '
        "| {text, spans: [.spans[]? | {start, end: .end, label: .label}]}",
        _is_prodigy,
    ),
    Export(
        "Label Studio (JSON)",
        "{text: .data.text, entities: [.annotations[0].result[]? | .value | select(.labels) "
        "| {start, end: .end, label: .labels[0], text}]}",
        _is_label_studio,
    ),
    Export(
        "Label Studio (JSON-MIN)",
        "{text, entities: [.label[]? | {start, end: .end, label: .labels[0], text}]}",
        _is_label_studio_min,
    ),
    Export(
        "doccano (relations)",
        "{text, entities: [.entities[] | {start: .start_offset, end: .end_offset, label: .label}]}",
        _is_doccano_relations,
    ),
    Export("doccano", f"{{text, entities: [(.label // .labels)[] | {_TRIPLE}]}}", _is_doccano),
    Export("spaCy (tuples)", f"{{text: .[0], entities: [.[1].entities[] | {_TRIPLE}]}}", _is_spacy),
    Export("GLiNER", "", _is_gliner),
    Export("token tags (`tokens`, `ner_tags`)", "", _is_tagged_tokens),
)
"""The first one that fits is the one: those with more marks of their own come first."""
