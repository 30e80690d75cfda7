"""SIGINT and SIGTERM. By default they end the command; in a long run they set a flag that the run asks for.

A signal that was ignored when nerx started stays ignored: so it is for a background job of a script.
"""

import signal
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

EXIT_OFFSET = 128
"""A shell reports a process that a signal ended as 128 + the signal's number: 130 for SIGINT, 143 for SIGTERM."""


class Stopped(SystemExit):
    """A signal ends the command; the process exits with 130 or 143."""


def exit_on_signals() -> None:
    """Let SIGINT and SIGTERM raise Stopped from now on, so that temporary files are removed on the way out."""
    for number in (signal.SIGINT, signal.SIGTERM):
        _handle(number, _stop)


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    raise Stopped(EXIT_OFFSET + number)


class Interrupt:
    """Once armed, the first signal sets `requested` and calls `announce`; a second one raises Stopped."""

    def __init__(self, announce: Callable[[], None]) -> None:
        self._announce = announce
        self._signal: signal.Signals | None = None

    def arm(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            _handle(number, self._receive)

    def disarm(self) -> None:
        exit_on_signals()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            _stop(number, frame)
        self._signal = signal.Signals(number)
        self._announce()

    @property
    def requested(self) -> bool:
        return self._signal is not None

    @property
    def exit_code(self) -> int:
        """130 or 143; 0 when no signal came."""
        return EXIT_OFFSET + self._signal if self._signal else 0


def _handle(number: signal.Signals, action: Callable[[int, FrameType | None], None]) -> None:
    if signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, action)
