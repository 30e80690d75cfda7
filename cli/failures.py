"""How many rows may fail before a run that finished is no success: `--max-failures 20`, `--max-failures 5%`."""

import re
from dataclasses import dataclass

from ..engine.errors import InputError, TooManyFailuresError

DEFAULT = "50%"
"""One bad row must not fail a night's run; most rows failing is the machine's fault and not theirs."""


@dataclass(frozen=True, slots=True)
class FailureLimit:
    """At most `number` failed rows, or that many in a hundred when `is_percent`."""

    number: float
    is_percent: bool

    def __str__(self) -> str:
        return f"{self.number:,g}{'%' if self.is_percent else ''}"

    @classmethod
    def parse(cls, text: str) -> "FailureLimit":
        """Of `20`, `5%` or `0.5%`. Raises InputError."""
        if not re.fullmatch(r"\d+|\d+(\.\d+)?%", text):
            raise InputError(f"--max-failures {text!r}: write a number of rows, or a share such as 5%")
        return cls(float(text.removesuffix("%")), text.endswith("%"))

    def require(self, failures: int, rows: int) -> None:
        """Raises TooManyFailuresError when more of `rows` have failed."""
        allowed = self.number * rows / 100 if self.is_percent else self.number
        if failures > allowed:
            raise TooManyFailuresError(
                f"{failures:,} rows failed, more than --max-failures {self}; the output is complete, its column "
                "nerx_error says why, and --retry-failed tries these rows again"
            )
