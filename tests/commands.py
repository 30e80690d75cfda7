"""The command line run in this process, as a user sees it: exit code, stdout, stderr."""

import signal
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from nerx.cli.app import main


@dataclass(frozen=True, slots=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        return [line.removeprefix("error: ") for line in self.err.splitlines() if line.startswith("error: ")]


Nerx = Callable[..., Outcome]


def runner(capsys: pytest.CaptureFixture[str]) -> Nerx:
    """A function that runs `nerx` with its arguments; streams are no terminals."""

    def run(*arguments: object) -> Outcome:
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        capsys.readouterr()
        try:
            with pytest.raises(SystemExit) as end:
                main([str(argument) for argument in arguments])
        finally:
            for number, action in before.items():
                signal.signal(number, action)
        code = end.value.code
        assert isinstance(code, int)
        return Outcome(code, *capsys.readouterr())

    return run
