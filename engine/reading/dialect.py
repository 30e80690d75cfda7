"""How a CSV file is written: its delimiter, quotes and escapes, and where its records end. Knows nothing of types.

Loads nothing heavy: the command line checks its options here.
"""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from ..errors import InputError

NO_QUOTE = "none"
TAB = "tab"

OUTSIDE, QUOTED, UNQUOTED = 0, 1, 2
"""Where a line ends: at the end of a record, inside a quoted field, or after an escaped line end outside quotes."""

_BY_NAME = {TAB: "\t", "\\t": "\t"}
_ADVICE = "If quotes are plain characters here, use --quote none; if a backslash stands before them, use --escape '\\'"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How fields are split and quoted, each part as a single ASCII character.

    delimiter: None is found in the header. quote: None is `"`, and a record that can be read in two ways is refused;
    "" says that quotes are plain characters. escape: the next character is itself, and the escape is dropped.
    infer_types: see `delimited`.
    """

    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    infer_types: bool = False

    @classmethod
    def parse(cls, delimiter: str | None, quote: str | None, escape: str | None, infer_types: bool) -> "Dialect":
        """Of what the options say: a character, or `tab` for the delimiter, or `none` for the quote.

        Raises InputError.
        """
        delimiter = _BY_NAME.get(delimiter or "", delimiter)
        given = {"--delimiter": delimiter, "--quote": None if quote == NO_QUOTE else quote, "--escape": escape}
        for option, character in given.items():
            if character is not None and (len(character) != 1 or not character.isascii() or character in "\r\n\0"):
                names = {"--delimiter": f", or {TAB}", "--quote": f", or {NO_QUOTE}"}.get(option, "")
                raise InputError(f"{option} {character!r}: give one ASCII character{names}")
        characters = [character for character in given.values() if character]
        if len(characters) > len(set(characters)):
            raise InputError("--delimiter, --quote and --escape must be different characters")
        return cls(delimiter, "" if quote == NO_QUOTE else quote, escape, infer_types)

    @property
    def given(self) -> Mapping[str, str | bool]:
        """What was asked for, by the names that outputs and messages call it. It decides on what a run reads."""
        quote = NO_QUOTE if self.quote == "" else self.quote
        said = {"delimiter": self.delimiter, "quote": quote, "escape": self.escape, "infer_types": self.infer_types}
        return {name: value for name, value in said.items() if value}

    @property
    def quote_character(self) -> str:
        return '"' if self.quote is None else self.quote

    def fields(self, records: str) -> list[list[str]]:
        """The fields of each record. Raises csv.Error."""
        quote = self.quote_character or None
        return list(
            csv.reader(
                io.StringIO(records, ""),  # lines are the reader's to find, inside quotes as well
                delimiter=self.delimiter or ",",
                quotechar=quote,
                escapechar=self.escape,
                quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
            )
        )

    def state_after(self, line: bytes, state: int) -> int:
        """Where `line` ends that begins in `state`. Raises ValueError for a field that goes on after its quotes."""
        delimiter, quote = (self.delimiter or ",").encode(), self.quote_character.encode()
        in_quotes, outside = _tokens(delimiter, quote, (self.escape or "").encode())
        position = 0
        while True:
            if state == OUTSIDE and quote and line.startswith(quote, position):
                state, position = QUOTED, position + 1
            if state == QUOTED:
                found = next((match for match in in_quotes.finditer(line, position) if match[0] == quote), None)
                if found is None:
                    return QUOTED
                position = found.end()
                if line[position : position + 1] in (b"", b"\r", b"\n"):
                    return OUTSIDE
                if not line.startswith(delimiter, position):
                    raise ValueError(f'a quoted field goes on after its closing quote; a quote inside is "". {_ADVICE}')
                state, position = OUTSIDE, position + 1
                continue
            match = outside.search(line, position) if outside else None
            if match is None:
                return OUTSIDE
            state, position = (QUOTED if quote and match[0] == delimiter + quote else UNQUOTED), match.end()
            if state == UNQUOTED and match[0].endswith(b"\n"):
                return UNQUOTED

    def require_clear(self, record: bytes, columns: int) -> None:
        """Raises ValueError where a record of several lines is whole after its first line when quotes mean less.

        A quote that was said outright is taken at its word.
        """
        if self.quote is not None or self.escape is not None:
            return
        lines = record.splitlines(keepends=True)
        if columns > 1 and self.delimiter == "\t" and all(line.count(b"\t") == columns - 1 for line in lines):
            seen = f"each of its {len(lines)} lines has all {columns} fields"
            raise ValueError(f"a quote joins lines here, but {seen}. {_ADVICE}; else say --quote '\"'")
        if b'\\"' in record and self._is_whole_with_escapes(lines[0], columns):
            seen = f"its first line has all {columns} fields if a backslash stands before quotes"
            raise ValueError(f"a quote joins lines here, but {seen}. Use --escape '\\', else say --quote '\"'")

    def _is_whole_with_escapes(self, line: bytes, columns: int) -> bool:
        other = replace(self, escape="\\")
        try:
            return other.state_after(line, OUTSIDE) == OUTSIDE and len(other.fields(line.decode())[0]) == columns
        except (ValueError, csv.Error):
            return False

    @property
    def unclosed_hint(self) -> str:
        return f" {_ADVICE}" if self.quote_character else ""


@lru_cache
def _tokens(delimiter: bytes, quote: bytes, escape: bytes) -> tuple[re.Pattern[bytes], re.Pattern[bytes] | None]:
    """What matters inside quotes, and what outside: escaped characters, and quotes where they open or close a field."""
    escaped = re.escape(escape) + b"." if escape else b""
    pairs, opening = re.escape(quote) * 2, re.escape(delimiter + quote) if quote else b""
    in_quotes = b"|".join(filter(None, (escaped, pairs, re.escape(quote))))
    outside = b"|".join(filter(None, (escaped, opening)))
    return re.compile(in_quotes, re.DOTALL), re.compile(outside, re.DOTALL) if outside else None
