"""The account of one run of a command: what it read and wrote, with which versions, how it ended. No text of any row.

Holds what orchestrators and auditors ask for afterwards, so it is written after a failure as well as after a success.
"""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..redaction import without_credentials
from ..tally import SCORE_BINS
from ..version import __version__

LIBRARIES = ("torch", "transformers", "peft", "pyarrow")
"""What decides on an output besides nerx, Python, the adapter and its base."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """One run. `counts` is a RunSummary as a mapping, of what is kept where the run did not finish; empty before it.

    `reason` is `done`, `interrupted`, or the error. `digests` are those of adapter, base and input.
    """

    exit_code: int
    reason: str
    started: datetime
    ended: datetime
    options: Mapping[str, Any]
    digests: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rounds_per_text(self) -> float | None:
        """Decoding rounds a processed text took on average; None before there is one."""
        return _share(self.counts.get("rounds"), self.counts.get("texts"))

    @property
    def acceptance_rate(self) -> float | None:
        """The share of drafted tokens that stood; None before there is one."""
        return _share(self.counts.get("accepted"), self.counts.get("drafted"))

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the counts, and beside them how they came about. Credentials in URIs are left out."""
        derived = {
            "score_bins": SCORE_BINS,
            "rounds_per_text": self.rounds_per_text,
            "acceptance_rate": self.acceptance_rate,
        }
        return {
            "exit_code": self.exit_code,
            "reason": without_credentials(self.reason),
            "started": self.started.isoformat(timespec="seconds"),
            "ended": self.ended.isoformat(timespec="seconds"),
            "host": platform.node(),
            "platform": platform.platform(),
            **{name: _plain(value) for name, value in self.counts.items()},
            **(derived if "rounds" in self.counts else {}),
            "digests": dict(self.digests),
            "versions": versions(),
            "options": {name: _plain(value) for name, value in self.options.items()},
        }


def versions() -> dict[str, str]:
    """Of nerx, Python and LIBRARIES, which are not loaded for it."""
    found = {"nerx": __version__, "python": platform.python_version()}
    return found | {name: version(name) for name in LIBRARIES}


def _plain(value: Any) -> Any:
    """As JSON knows it."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return without_credentials(str(value)) if isinstance(value, str | Path) else value


def _share(part: int | None, whole: int | None) -> float | None:
    return part / whole if part is not None and whole else None
