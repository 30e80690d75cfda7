"""What an output was made with, how its files say so, and how two differ.

The one place where names of the form `nerx.*` are made and read. Knows neither Parquet nor folders: metadata are
mappings of bytes, as pyarrow gives them.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

OFFSET_UNIT = "unicode code points"
"""Of `start` and `end`, as every output says of itself."""

PREFIX = "nerx."
RUN = "run"
"""Which run wrote a file, as the digest of its fingerprint."""
TALLY = "tally"
"""The counts of a file's rows."""
INPUT = "input"
"""The input whose rows a part of a growing output holds."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What decides on an output besides its inputs.

    adapter, base_digest: digests, as in the adapter's card. base: its name or path. options: the choices that change
    entities. text_column: None as long as any will do. version: of nerx.
    """

    adapter: str
    options: Mapping[str, Any] = field(default_factory=dict)
    base: str = ""
    base_digest: str = ""
    version: str = ""
    text_column: str | None = None

    @classmethod
    def said(cls, facts: Mapping[str, str]) -> "Origin":
        """What the metadata of a file say, as `facts_in` gives them. Raises ValueError for options that are no JSON."""
        names = ("adapter", "base", "base_digest", "version")
        known = {name: facts.get(name, "") for name in names}
        return cls(**known, options=json.loads(facts.get("options", "{}")), text_column=facts.get("text_column"))

    def reading(self, text_column: str) -> "Origin":
        """The same, once the text column is known."""
        return replace(self, text_column=text_column)

    @property
    def provenance(self) -> dict[str, str]:
        """What names the tools; facts that are not known are left out."""
        named = {"version": self.version, "base": self.base, "base_digest": self.base_digest}
        return {name: value for name, value in named.items() if value}

    @property
    def deciding(self) -> dict[str, Any]:
        """What parts of one output must have in common. The version is not among it: cron outlives releases."""
        return {
            "adapter": self.adapter,
            "base_digest": self.base_digest,
            "options": dict(self.options),
            "text_column": self.text_column,
        }

    def facts(self, input_digest: str) -> dict[str, str]:
        """What every file of a run over these inputs says of itself."""
        return {
            "adapter": self.adapter,
            "options": json.dumps(dict(self.options), ensure_ascii=False, sort_keys=True),
            "text_column": self.text_column or "",
            "offset_unit": OFFSET_UNIT,
            "input_digest": input_digest,
            **self.provenance,
        }

    def changes(self, now: "Origin", *, version: bool = False) -> list[str]:
        """How `now` differs in what decides (and in its version), in words; a text column of None is any."""
        wanted = now.reading(now.text_column or self.text_column or "")
        before, after = (one._compared(version=version) for one in (self, wanted))
        return [phrase.replace("_", " ") for phrase in differences(before, after)]

    def _compared(self, *, version: bool) -> dict[str, Any]:
        """What decides, and the version if asked; facts that are not known are left out."""
        facts = {**self.deciding, "version": self.version} if version else self.deciding
        return {name: value for name, value in facts.items() if value}


def facts_in(metadata: Mapping[bytes, bytes] | None) -> dict[str, str]:
    """What a file says of its run: its metadata whose names begin with `nerx.`, without that."""
    found = {name.decode(errors="replace"): value for name, value in (metadata or {}).items()}
    return {
        name.removeprefix(PREFIX): value.decode(errors="replace")
        for name, value in found.items()
        if name.startswith(PREFIX)
    }


def as_metadata(facts: Mapping[str, str]) -> dict[bytes, bytes]:
    """The inverse of `facts_in`."""
    return {f"{PREFIX}{name}".encode(): value.encode() for name, value in facts.items()}


def other_metadata(metadata: Mapping[bytes, bytes] | None) -> dict[bytes, bytes]:
    """What `facts_in` leaves out: metadata that came with the input."""
    return {name: value for name, value in (metadata or {}).items() if not name.startswith(PREFIX.encode())}


def differences(before: Any, now: Any, name: str = "") -> list[str]:
    """What changed between two trees of JSON values, as `name: before -> now` phrases; five at most."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(before.keys() | now.keys())
        changed = [key for key in keys if before.get(key) != now.get(key)]
        deeper = [differences(before.get(key), now.get(key), f"{name}{' ' if name else ''}{key}") for key in changed]
        phrases = [phrase for part in deeper for phrase in part]
        return phrases if len(phrases) <= 5 else [*phrases[:5], f"and {len(phrases) - 5} more"]
    if before == now:
        return []
    if before is None or now is None:
        return [f"{name} {'added' if before is None else 'gone'}"]
    return [f"{name}: {_short(before)} -> {_short(now)}"]


def _short(value: object) -> str:
    """`value` for a message; a digest by its beginning."""
    text = str(value)
    return text[:8] if re.fullmatch(r"[0-9a-f]{24,}", text) else text
