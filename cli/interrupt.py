"""SIGINT and SIGTERM as a flag that long work polls, so that it stops at a border where nothing is lost."""

import signal
from collections.abc import Callable
from types import FrameType, TracebackType

_EXIT_OFFSET = 128
"""A shell reports a process that a signal ended as 128 + the signal's number: 130 for SIGINT, 143 for SIGTERM."""


class Interrupt:
    """While entered, the first signal sets `requested` and calls `announce`; a second one ends the process at once."""

    def __init__(self, announce: Callable[[], None]) -> None:
        self._announce = announce
        self._signal: signal.Signals | None = None
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Interrupt":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, action in self._previous.items():
            signal.signal(number, action)  # type: ignore[arg-type]  # what signal.signal gave, given back

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self._signal is not None:
            raise SystemExit(_EXIT_OFFSET + number)
        self._signal = signal.Signals(number)
        self._announce()

    @property
    def requested(self) -> bool:
        return self._signal is not None

    @property
    def exit_code(self) -> int:
        """130 or 143; 0 when no signal came."""
        return _EXIT_OFFSET + self._signal if self._signal else 0
