"""Checks one line of the native seed format: a decoded JSON value in, a Seed or a Label out.

A bad line raises LineError, which lists everything that is wrong with it. Each message says what was seen and, after a
semicolon, what to do. This module knows nothing of files. It uses no schema library, because half of the checks are
about offsets in a text and the other half is the wording.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from itertools import pairwise
from typing import Any
from unicodedata import category

from ..engine.label import Label
from ..engine.span import Seed, Span
from .export import foreign
from .lint import joins_letters

SEED_KEYS = ("text", "entities", "spans", "id", "meta")
DEFINITION_KEYS = ("label", "description")
ENTITY_KEYS = ("start", "end", "label", "text", "score")
EXAMPLE = '{"text": "Ana lives in Lima", "entities": [{"start": 13, "end": 17, "label": "place"}]}'

FOREIGN_KEYS = {
    "ner_tags": "token-tag data (`tokens`, `ner_tags`)",
    "ner": "GLiNER data",
    "label": "doccano data",
    "labels": "doccano data",
    "annotations": "Label Studio data",
    "predictions": "Label Studio data",
}
"""Keys of other annotation tools, for lines that are not in the shape of any export that `export` knows."""


class LineError(ValueError):
    """One line is bad. `messages` says what is wrong with it, and holds at least one message."""

    def __init__(self, messages: Iterable[str]) -> None:
        self.messages = tuple(messages)
        super().__init__("\n".join(self.messages))


def is_definition(record: Mapping[str, Any]) -> bool:
    """Whether a line defines a label; otherwise it is an annotated text."""
    return "label" in record and not record.keys() & {"text", "entities", "spans"}


def parse_definition(record: Mapping[str, Any]) -> Label:
    """The label of a `{"label", "description"}` line. Raises LineError."""
    name, description = record["label"], record.get("description", "")
    found = [*_unknown_keys(record, DEFINITION_KEYS, "a label definition"), *_label_problems(name)]
    if not isinstance(description, str):
        found.append(f'"description" is {_shown(description)}; write a string')
    elif len(description.splitlines()) > 1 or _surrogate(description) is not None:
        found.append(f'"description" {_shown(description)} is more than one line of plain text; write one line')
    if found:
        raise LineError(found)
    return Label(name, description.strip())


def parse_seed(record: Mapping[str, Any], where: str) -> Seed:
    """The annotated text of a `{"text", "entities"}` line, spans sorted. Raises LineError."""
    if said := foreign(record):
        raise LineError([said])
    text = record.get("text")
    text_problems, entity_list_problems = list(_text_problems(record)), list(_entity_list_problems(record))
    found = [*_unknown_keys(record, SEED_KEYS, "a seed"), *text_problems, *entity_list_problems]
    spans: list[Span] = []
    if isinstance(text, str) and not text_problems and not entity_list_problems:
        for number, entity in enumerate(_entities(record), start=1):
            problems = list(_entity_problems(entity, text))
            found += [f"entity {number}: {problem}" for problem in problems]
            if not problems:
                spans.append(Span(entity["start"], entity["end"], entity["label"]))
        spans.sort()
        found += _overlaps(text, spans)
    if found or not isinstance(text, str):
        raise LineError(found)
    return Seed(text, tuple(spans), where)


def labels_named(record: Mapping[str, Any]) -> list[str]:
    """The valid labels among a line's entities, even if other things are wrong with the line."""
    entities = _entities(record)
    entities = entities if isinstance(entities, list) else []
    named = [entity.get("label") for entity in entities if isinstance(entity, dict)]
    return [label for label in named if isinstance(label, str) and not any(_label_problems(label))]


def did_you_mean(word: str, known: Collection[str]) -> str:
    """`did you mean 'x'?`, or nothing when no known word is close."""
    close = get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else ""


def _unknown_keys(record: Mapping[str, Any], known: Collection[str], what: str) -> Iterator[str]:
    for key in sorted(record.keys() - known):
        advice = did_you_mean(key, known) or f"{what} has {_listed(known)}"
        if what == "a seed" and key in FOREIGN_KEYS:
            advice = f"this looks like {FOREIGN_KEYS[key]}: convert it to lines like {EXAMPLE}"
        yield f"unknown key {key!r}; {advice}"


def _text_problems(record: Mapping[str, Any]) -> Iterator[str]:
    text = record.get("text")
    if "text" not in record:
        yield f'no "text"; write lines like {EXAMPLE}'
    elif not isinstance(text, str):
        yield f'"text" is {_shown(text)}; write a string'
    elif not text.strip():
        yield '"text" is blank; remove the line'
    elif (at := _surrogate(text)) is not None:
        yield f'"text" holds half of a surrogate pair ({text[at]!a}) at character {at}; write the whole character'


def _entity_list_problems(record: Mapping[str, Any]) -> Iterator[str]:
    if "entities" in record and "spans" in record:
        yield 'both "entities" and "spans"; keep one'
    elif "entities" not in record and "spans" not in record:
        yield 'no "entities"; a text without any is written with "entities": []'
    elif not isinstance(entities := _entities(record), list):
        yield f'"entities" is {_shown(entities)}; write a list'


def _entities(record: Mapping[str, Any]) -> Any:
    return record.get("entities", record.get("spans"))


def _entity_problems(entity: Any, text: str) -> Iterator[str]:
    if not isinstance(entity, dict):
        yield f'{_shown(entity)} is not an object; write {{"start": ..., "end": ..., "label": ...}}'
        return
    yield from _unknown_keys(entity, ENTITY_KEYS, "an entity")
    if missing := [key for key in ("start", "end", "label") if key not in entity]:
        yield f'no {_listed(missing)}; an entity has "start", "end", "label"'
        return
    yield from _label_problems(entity["label"])
    # bool is a subclass of int, and `true` is no offset.
    if strange := [key for key in ("start", "end") if type(entity[key]) is not int]:
        yield from (f'"{key}" is {_shown(entity[key])}; write a whole number of characters' for key in strange)
    else:
        yield from _offset_problems(entity["start"], entity["end"], text, entity.get("text"))


def _label_problems(name: object) -> Iterator[str]:
    if not isinstance(name, str):
        yield f"label {_shown(name)} is not a string; write a name"
    elif not name.strip():
        yield f"label {name!r} is blank; write a name"
    elif name != name.strip():
        yield f"label {name!r} has spaces around it; write {name.strip()!r}"
    elif any(category(char) in ("Cc", "Cs", "Zl", "Zp") for char in name):
        yield f"label {name!r} holds a control character or a line break; write plain text"


def _offset_problems(start: int, end: int, text: str, recorded: object) -> Iterator[str]:
    """What is wrong with `start:end` in `text`; `recorded` is the mention as the annotation tool saw it."""
    if recorded is not None and not isinstance(recorded, str):
        yield f'"text" is {_shown(recorded)}; write the mention as a string, or leave it out'
        return
    place, mention = f"{start}:{end}", text[max(start, 0) : max(end, 0)]
    wrong = ""
    if start < 0:
        wrong = "starts before the text"
    elif start >= end:
        wrong = "does not end after its start"
    elif end > len(text):
        wrong = f"ends after the text, which has {len(text)} characters"
    elif recorded is not None and recorded != mention:
        wrong = f'is {mention!r}, but its "text" says {recorded!r}'
    if wrong:
        yield f"{place} {wrong}; {_true_place(start, end, text, recorded) or 'correct the offsets'}"
    elif recorded is None and (other := _in_utf16(start, end, text)) and _is_cut(start, end, text):
        at, word = f"{other[0]}:{other[1]}", text[slice(*other)]
        yield (
            f"{place} is {mention!r} in characters, but {word!r} in UTF-16 units; write {at} if your tool counts "
            f'UTF-16 units, as JavaScript does, else add its "text" to the entity'
        )
    elif not mention.strip():
        yield f"{place} {mention!r} is blank; remove it"
    elif mention != mention.strip():
        trimmed = start + len(mention) - len(mention.lstrip())
        yield f"{place} {mention!r} has whitespace at its edges; write {trimmed}:{trimmed + len(mention.strip())}"


def _in_utf16(start: int, end: int, text: str) -> tuple[int, int] | None:
    """Where a mention begins and ends in characters if `start:end` are UTF-16 units; None if this makes no sense.

    It makes sense if it is another place, and whole words.
    """
    units = text.encode("utf-16-le", "surrogatepass")
    try:
        places = tuple(len(units[: 2 * place].decode("utf-16-le")) for place in (start, end))
    except UnicodeDecodeError:
        return None
    first, last = places
    return None if (first, last) == (start, end) or first == last or _is_cut(first, last, text) else (first, last)


def _is_cut(start: int, end: int, text: str) -> bool:
    """Whether `text[start:end]` has white space at its edges, or begins or ends inside a word."""
    mention = text[start:end]
    return mention != mention.strip() or joins_letters(text, start) or joins_letters(text, end)


def _true_place(start: int, end: int, text: str, recorded: str | None) -> str:
    """Say where the mention really is, if the offsets count other units or are off; "" if that is unknown."""
    for unit, codec, width in (("UTF-16", "utf-16-le", 2), ("byte", "utf-8", 1)):
        units = text.encode(codec)
        if not 0 <= start < end <= len(units) // width or len(units) // width == len(text):
            continue
        try:
            before, mention = units[: start * width].decode(codec), units[start * width : end * width].decode(codec)
        except UnicodeDecodeError:
            continue
        if recorded in (None, mention):
            are = "may be" if recorded is None else "are"
            return (
                f"these {are} {unit} offsets: in characters {mention!r} is {len(before)}:{len(before) + len(mention)}"
            )
    if not recorded:
        return ""
    if 0 <= start <= end < len(text) and text[start : end + 1] == recorded:
        return f"the end is exclusive: write {start}:{end + 1}"
    if (count := text.count(recorded)) == 1:
        return f"it is at {text.index(recorded)}:{text.index(recorded) + len(recorded)}"
    return f"that occurs {count} times in the text: correct the offsets" if count else "that is not in the text"


def _overlaps(text: str, spans: Iterable[Span]) -> Iterator[str]:
    for left, right in pairwise(spans):
        if left.key == right.key:
            yield f"entity {_named(text, left)} is given twice; remove one"
        elif right.start < left.end:
            yield f"entities {_named(text, left)} and {_named(text, right)} overlap; keep one"


def _named(text: str, span: Span) -> str:
    return f"{span.start}:{span.end} {text[span.start : span.end]!r} ({span.label})"


def _surrogate(text: str) -> int | None:
    """The index of a lone half of a surrogate pair, or None. JSON's escapes allow one; no UTF-8 file can hold it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def _shown(value: object) -> str:
    """A JSON value as the user wrote it, cut to 40 characters."""
    written = json.dumps(value, ensure_ascii=False)
    return written if len(written) <= 40 else f"{written[:37]}..."


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f'"{word}"' for word in words)
