"""Reads seed and label files into Seeds and Labels. Reports every bad line, not only the first.

Native format, UTF-8, one JSON object a line: annotated texts (`{"text", "entities"}`) and, if wanted, label definitions
(`{"label", "description"}`). `annotation` checks a single line; `lint` finds what is only weak.
"""

import codecs
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..engine.errors import SeedError
from ..engine.label import Label, LabelSet
from ..engine.span import Seed
from .annotation import EXAMPLE, LineError, did_you_mean, is_definition, labels_named, parse_definition, parse_seed
from .export import foreign, foreign_file
from .lint import lint

FILE_STARTS = {
    codecs.BOM_UTF16_LE: "UTF-16 text",
    codecs.BOM_UTF16_BE: "UTF-16 text",
    b"\x1f\x8b": "a gzip file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"PK\x03\x04": "a zip or Excel file",
    b"PAR1": "a Parquet file",
}
"""First bytes of files that are often given by mistake. They get one message, and not one for every line."""

MOST_PROBLEMS = 20
"""So many are listed, and the others counted: a file of another format has one or more on each line."""

DEFINITION = '{"label": "place", "description": "a city, country or region"}'


@dataclass(frozen=True, slots=True)
class SeedFile:
    """What a seed file holds."""

    seeds: tuple[Seed, ...]
    labels: LabelSet
    """Defined labels first, in the order of their definitions, then the others in the order of their first mention."""
    digest: str
    """SHA-256 of the file's bytes, in hex."""
    warnings: tuple[str, ...] = ()


def read_seeds(path: Path, *, definitions: Sequence[Label] = (), training: bool = True) -> SeedFile:
    """Read and check a seed file. `definitions` (from `--labels`) come first, and win over those in the file.

    With `training`, the function also refuses what would spoil training: a label that occurs once, and one text
    annotated in two ways. It leaves out exact duplicates and labels that no seed uses, with a warning, and adds the
    warnings of `lint`. Without `training` (a dev or test file), it takes the texts and labels as they are.
    Raises SeedError with one `file:line: what was seen; what to do` for every problem in the file.
    """
    data = read_file(path)
    reading = _Reading(path)
    for number, record in _records(path, data):
        reading.add(number, record)
    reading.require_entities()
    if training:
        reading.check_repeated_texts()
        reading.check_single_mentions()
    reading.raise_problems()
    labels = reading.label_set(definitions, used_only=training)
    seeds = tuple(reading.seeds.values())
    weak = lint(seeds) if training else ()
    return SeedFile(seeds, labels, hashlib.sha256(data).hexdigest(), (*reading.warnings, *weak))


def read_texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts of a seed file, each with its line, and leave its annotation unread.

    Raises SeedError at the first line that holds no text and defines no label.
    """
    for number, record in _records(path, read_file(path)):
        if isinstance(record, LineError):
            raise SeedError([f"{path}:{number}: {message}" for message in record.messages])
        if isinstance(text := record.get("text"), str):
            yield number, text
        elif not is_definition(record):
            raise SeedError([f'{path}:{number}: no "text" that is a string; write lines like {EXAMPLE}'])


def read_labels(path: Path) -> tuple[Label, ...]:
    """The labels of a `--labels` file: `{"label", "description"}` lines, or one JSON object of names to descriptions.

    Raises SeedError for every problem in the file.
    """
    data = read_file(path)
    reading = _Reading(path)
    mapping = _mapping(path, data)
    if mapping is not None:
        for name, description in mapping.items():
            reading.add(0, {"label": name, "description": description})
    else:
        for number, record in _records(path, data):
            foreign = isinstance(record, dict) and not is_definition(record)
            reading.add(
                number, LineError([f"no label definition; write lines like {DEFINITION}"]) if foreign else record
            )
    if not reading.definitions and not reading.problems:
        reading.problems.append((0, f"empty; write lines like {DEFINITION}"))
    reading.raise_problems()
    return tuple(label for label, _ in reading.definitions.values())


@dataclass(slots=True)
class _Reading:
    """What has been read from one file so far. Line 0 stands for the whole file."""

    path: Path
    seeds: dict[int, Seed] = field(default_factory=dict)
    definitions: dict[str, tuple[Label, int]] = field(default_factory=dict)
    mentions: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """label -> the line of each of its mentions, also of those on bad lines."""
    problems: list[tuple[int, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    has_unread_lines: bool = False

    def add(self, number: int, record: dict[str, Any] | LineError) -> None:
        try:
            if isinstance(record, LineError):
                self.has_unread_lines = True
                raise record
            if is_definition(record):
                self._define(number, parse_definition(record))
            else:
                for label in labels_named(record):
                    self.mentions[label].append(number)
                self.seeds[number] = parse_seed(record, self._at(number))
        except LineError as problems:
            self.problems += [(number, message) for message in problems.messages]

    def require_entities(self) -> None:
        if not self.seeds and not self.problems:
            seen = "only label definitions" if self.definitions else "empty"
            self.problems.append((0, f"{seen}; write lines like {EXAMPLE}"))
        elif not self.mentions and not self.problems:
            self.problems.append((0, f"no entity in any of {len(self.seeds)} texts; annotate some"))

    def check_repeated_texts(self) -> None:
        """Refuse a text annotated in two ways. Leave out an exact duplicate, since it would leak into the holdout."""
        first_with: dict[str, int] = {}
        for number, seed in list(self.seeds.items()):
            first = first_with.setdefault(seed.text, number)
            if first == number:
                continue
            if seed.spans != self.seeds[first].spans:
                self.problems.append(
                    (number, f"same text as line {first}, but annotated differently; keep one of them")
                )
                continue
            self.warnings.append(f"{self._at(number)}: duplicate of line {first}; left out")
            del self.seeds[number]
            for span in seed.spans:
                self.mentions[span.label].remove(number)

    def check_single_mentions(self) -> None:
        """Refuse a label with one mention: it cannot be both learned and checked. If some line could not be read, that
        line may hold another mention, and then no label is refused."""
        for label, lines in self.mentions.items():
            if len(lines) == 1 and not self.has_unread_lines:
                close = did_you_mean(label, self.mentions.keys() - {label})
                advice = f"{close} Else annotate another, or remove it" if close else "annotate another, or remove it"
                self.problems.append(
                    (lines[0], f"label {label!r} occurs only here, too little to learn from; {advice}")
                )

    def raise_problems(self) -> None:
        if self.problems:
            in_order = sorted(self.problems, key=lambda problem: problem[0])
            listed = [f"{self._at(number)}: {message}" for number, message in in_order[:MOST_PROBLEMS]]
            if more := len(in_order) - len(listed):
                lines = len({number for number, _ in in_order})
                listed.append(f"{self.path}: {more:,} more problems, {len(in_order):,} in all, on {lines:,} lines")
            raise SeedError(listed)

    def label_set(self, definitions: Sequence[Label], *, used_only: bool) -> LabelSet:
        """Defined labels, then the others that occur. `used_only` leaves out labels without mentions and warns."""
        defined = {label.name: label for label in definitions}
        for name, (label, _) in self.definitions.items():
            defined.setdefault(name, label)
        occurring = dict.fromkeys(span.label for seed in self.seeds.values() for span in seed.spans)
        if used_only:
            for name in [name for name in defined if name not in occurring]:
                advice = did_you_mean(name, occurring) or "annotate at least two mentions to have it"
                self.warnings.append(f"label {name!r} is defined, but no seed has it: left out; {advice}")
            defined = {name: label for name, label in defined.items() if name in occurring}
        return LabelSet((*defined.values(), *(Label(name) for name in occurring if name not in defined)))

    def _define(self, number: int, label: Label) -> None:
        if label.name in self.definitions:
            first = self.definitions[label.name][1]
            raise LineError([f"label {label.name!r} is already defined on line {first}; keep one definition"])
        self.definitions[label.name] = label, number

    def _at(self, number: int) -> str:
        return f"{self.path}:{number}" if number else str(self.path)


def read_file(path: Path) -> bytes:
    """The bytes of a file of JSON lines, unpacked if its name ends in `.zst`. Raises SeedError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise SeedError([f"{path}: no such file; check the path"]) from None
    except IsADirectoryError:
        raise SeedError([f"{path}: a folder; name a file in it"]) from None
    except OSError as error:
        raise SeedError([f"{path}: cannot be read: {error.strerror}; check the file"]) from None
    if path.suffix == ".zst":
        data = _unpacked(path, data)
    for start, kind in FILE_STARTS.items():
        if data.startswith(start):
            raise SeedError([f"{path}: {kind}; a UTF-8 text file with one JSON object a line is needed"])
    return data


def _unpacked(path: Path, data: bytes) -> bytes:
    import pyarrow as pa

    try:
        with pa.input_stream(pa.BufferReader(data), compression="zstd") as stream:
            unpacked: bytes = stream.read()
    except OSError:
        raise SeedError([f"{path}: not a whole zstd file; pack it again with `zstd`"]) from None
    return unpacked


def _records(path: Path, data: bytes) -> Iterator[tuple[int, dict[str, Any] | LineError]]:
    """Yield (line number from 1, JSON object or what is wrong with the line). Skips blank lines."""
    text = data.removeprefix(codecs.BOM_UTF8)
    if said := foreign_file(text, _first_line(text)):
        raise SeedError([f"{path}: {said} {path}"])
    at = len(data) - len(text)
    for number, line in enumerate(text.split(b"\n"), start=1):
        if line.strip():
            yield number, _record(line, at)
        at += len(line) + 1


def _record(line: bytes, at: int) -> dict[str, Any] | LineError:
    """The JSON object of one line that begins at byte `at`, or what is wrong with it."""
    try:
        value = json.loads(line.decode(), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        where = f"byte {error.start} of the line, {at + error.start} of the file"
        return LineError([f"0x{line[error.start]:02x} at {where}, is not UTF-8; save the file as UTF-8"])
    except LineError as problems:
        return problems
    except json.JSONDecodeError as error:
        return LineError([f"not JSON: {error.msg} at column {error.colno}; write one JSON object a line"])
    except (ValueError, RecursionError) as error:
        return LineError([f"not readable JSON: {error}; write one JSON object a line"])
    if not isinstance(value, dict):
        return LineError([foreign(value) or f"not a JSON object; write lines like {EXAMPLE}"])
    return value


def _mapping(path: Path, data: bytes) -> dict[str, Any] | None:
    """The file as one JSON object of names to descriptions; None if it is a file of definition lines."""
    text = data.removeprefix(codecs.BOM_UTF8)
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        if _first_line(text) == b"{":
            raise SeedError([f"{path}: not JSON: {error}; write one object of label names to descriptions"]) from None
        return None
    return value if isinstance(value, dict) and not is_definition(value) else None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises LineError for a key given twice, which json.loads would accept in silence."""
    record = dict(pairs)
    if len(record) < len(pairs):
        keys = [key for key, _ in pairs]
        raise LineError([f'key "{key}" is given twice; keep one' for key in record if keys.count(key) > 1])
    return record


def _first_line(text: bytes) -> bytes:
    return text.lstrip().split(b"\n", 1)[0].strip()
