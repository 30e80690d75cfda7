"""Writes the report and the metrics of a command when it ends: done, interrupted, or with an error."""

import signal
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from ..engine.errors import NerxError, OutputError
from . import console
from .interrupt import EXIT_OFFSET

_SIGNALLED = (EXIT_OFFSET + signal.SIGINT, EXIT_OFFSET + signal.SIGTERM)


class Reporting:
    """Writes the report after a `with` block: `with Reporting(...) as account:`.

    Inside the block the run fills in `digests` and `counts` when it knows them. `options` are those that the user gave;
    the run adds the values that it takes by default. Raises OutputError at once for a place where no file can be
    written, and at the end when writing fails and nothing else went wrong.
    """

    def __init__(self, report: Path | None, metrics: Path | None, options: Mapping[str, Any]) -> None:
        self._report, self._metrics, self.options = report, metrics, dict(options)
        self.out: Path | None = None
        """The path of the output, when it is known. It is a label of all metrics."""
        self.digests: dict[str, str] = {}
        self.counts: Mapping[str, Any] = {}
        for path in filter(None, (report, metrics)):
            if path.is_dir() or not path.absolute().parent.is_dir():
                raise OutputError(f"{path}: cannot be a file here; name a file in a folder that exists")

    def __enter__(self) -> "Reporting":
        self._started = datetime.now(UTC)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._report is None and self._metrics is None:
            return
        try:
            self._write(*_ending(error))
        except OutputError as fault:
            if error is None:
                raise
            console.print_error(str(fault))  # beside the first error, which decides on the exit code

    def _failures(self) -> Mapping[str, Any]:
        """The rows that failed; empty when none did."""
        from ..engine.review.failure import failures_of

        if not self.counts.get("failures") or self.out is None:
            return {}
        try:
            return failures_of(self.out).to_dict()
        except OutputError:
            return {}

    def _write(self, exit_code: int, reason: str) -> None:
        from ..engine.review.openmetrics import openmetrics
        from ..engine.review.report import RunReport

        counts = {**self.counts, **self._failures()}
        ended, options = datetime.now(UTC), self.options | ({"out": self.out} if self.out else {})
        report = RunReport(exit_code, reason, self._started, ended, options, self.digests, counts)
        if self._report is not None:
            console.write_json(self._report, report.to_dict())
        if self._metrics is not None:
            console.write_text(self._metrics, openmetrics(report))


def _ending(error: BaseException | None) -> tuple[int, str]:
    """Exit code and reason. A fault gives only its type, because its message may quote a text."""
    match error:
        case None:
            return 0, "done"
        case NerxError():
            return error.exit_code, str(error)
        case typer.Exit():
            return _signalled(error.exit_code)
        case SystemExit():
            return _signalled(error.code if isinstance(error.code, int) else 1)
        case _:
            return 1, f"a fault in nerx ({type(error).__name__})"


def _signalled(code: int) -> tuple[int, str]:
    # The command itself asks for another exit code only where it had nothing to do (--noop-code).
    return code, "interrupted" if code in _SIGNALLED else "nothing to do"
