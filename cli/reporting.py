"""The report and the metrics of a command, written however it ends: done, interrupted, or with an error."""

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
    """`with Reporting(...) as account:` around a run, which fills in `digests` and `counts` as they become known.

    `options` are as typed; the run puts in what it takes where nothing was said. Raises OutputError at once for a place
    where no file can be written, and at the end when writing fails though all else went well.
    """

    def __init__(self, report: Path | None, metrics: Path | None, options: Mapping[str, Any]) -> None:
        self._report, self._metrics, self.options = report, metrics, dict(options)
        self.out: Path | None = None
        """Where the output goes, as soon as that is known: it is what the metrics are labelled with."""
        self.digests: dict[str, str] = {}
        self.counts: Mapping[str, Any] = {}
        for path in filter(None, (report, metrics)):
            if path.is_dir() or not path.absolute().parent.is_dir():
                raise OutputError(f"{path}: no place for a file; name one in a folder that exists")

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
        """Which rows failed, where some did."""
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
    """Exit code and reason. A fault is told by its type alone, since its message might quote a text."""
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
