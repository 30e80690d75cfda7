"""The report of one run of a command: what it read and wrote, with which versions, and how it ended.

It is for orchestrators and auditors, so it is written after a failure too. It holds no text of any row.
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
"""Libraries whose versions can change an output."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """One run. `reason` is `done`, `interrupted`, or the error. `digests` are those of adapter, base and input.

    `counts` is a RunSummary as a mapping. After an unfinished run it counts the rows that are kept; it is empty if the
    run ended before its first row.
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
        """Mean number of decoding rounds per text; None if there is no text."""
        return _share(self.counts.get("rounds"), self.counts.get("texts"))

    @property
    def acceptance_rate(self) -> float | None:
        """The share of drafted tokens that the model kept; None if there are none."""
        return _share(self.counts.get("accepted"), self.counts.get("drafted"))

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the counts, and how they came about. Leaves out credentials in URIs."""
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
    """The versions of nerx, Python and LIBRARIES. It does not load them."""
    found = {"nerx": __version__, "python": platform.python_version()}
    return found | {name: version(name) for name in LIBRARIES}


def _plain(value: Any) -> Any:
    """`value` as JSON types."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return without_credentials(str(value)) if isinstance(value, str | Path) else value


def _share(part: int | None, whole: int | None) -> float | None:
    return part / whole if part is not None and whole else None
