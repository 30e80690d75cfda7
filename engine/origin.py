"""What an output was made with, how its files say so, and how two origins differ.

Only this module writes and reads metadata names of the form `nerx.*`. It knows neither Parquet nor folders: metadata
are mappings of bytes, as pyarrow gives them.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

OFFSET_UNIT = "unicode code points"
"""The unit of `start` and `end`. Every output states it."""

PREFIX = "nerx."
RUN = "run"
"""The run that wrote a file: the digest of its fingerprint."""
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
        """The origin in the metadata of a file, as `facts_in` gives them. Raises ValueError for bad options."""
        names = ("adapter", "base", "base_digest", "version")
        known = {name: facts.get(name, "") for name in names}
        return cls(**known, options=json.loads(facts.get("options", "{}")), text_column=facts.get("text_column"))

    def reading(self, text_column: str) -> "Origin":
        """This origin with its text column, when that is known."""
        return replace(self, text_column=text_column)

    @property
    def provenance(self) -> dict[str, str]:
        """The names of the tools. Leaves out facts that are not known."""
        named = {"version": self.version, "base": self.base, "base_digest": self.base_digest}
        return {name: value for name, value in named.items() if value}

    @property
    def deciding(self) -> dict[str, Any]:
        """What the parts of one output must share. The version is not among it: a cron job outlives releases."""
        return {
            "adapter": self.adapter,
            "base_digest": self.base_digest,
            "options": dict(self.options),
            "text_column": self.text_column,
        }

    def facts(self, input_digest: str) -> dict[str, str]:
        """The metadata of every file of a run over these inputs."""
        return {
            "adapter": self.adapter,
            "options": json.dumps(dict(self.options), ensure_ascii=False, sort_keys=True),
            "text_column": self.text_column or "",
            "offset_unit": OFFSET_UNIT,
            "input_digest": input_digest,
            **self.provenance,
        }

    def changes(self, now: "Origin", *, version: bool = False) -> list[str]:
        """Phrases that say how `now` differs in what decides, and in version if asked. Any text column fits None."""
        wanted = now.reading(now.text_column or self.text_column or "")
        before, after = (one._compared(version=version) for one in (self, wanted))
        return [phrase.replace("_", " ") for phrase in differences(before, after)]

    def _compared(self, *, version: bool) -> dict[str, Any]:
        """What decides, and the version if asked. Leaves out facts that are not known."""
        facts = {**self.deciding, "version": self.version} if version else self.deciding
        return {name: value for name, value in facts.items() if value}


def facts_in(metadata: Mapping[bytes, bytes] | None) -> dict[str, str]:
    """What a file says of its run: the metadata whose names begin with `nerx.`, by the rest of their names."""
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
    """The metadata that `facts_in` leaves out. They came with the input."""
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
    """`value` for a message. A digest is cut to its beginning."""
    text = str(value)
    return text[:8] if re.fullmatch(r"[0-9a-f]{24,}", text) else text
