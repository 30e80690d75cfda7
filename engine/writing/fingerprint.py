"""What must be equal for a run to go on where another stopped: JSON values, a name for them, and how two differ."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

Fingerprint = Mapping[str, Any]


def digest_of(fingerprint: Fingerprint) -> str:
    """A short name for the run a fingerprint describes; in the metadata of what it publishes."""
    return hashlib.blake2b(json.dumps(fingerprint, sort_keys=True).encode(), digest_size=16).hexdigest()


def differences(before: Any, now: Any, name: str = "") -> list[str]:
    """What changed between two fingerprints, as `name: before -> now` phrases."""
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
