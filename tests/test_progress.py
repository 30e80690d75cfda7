"""Progress off a terminal: plain lines, not too many; and durations as people say them."""

import pytest
from rich.console import Console

from nerx.cli.progress import LINE_INTERVAL, Tick, _Lines, duration, progress


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_lines_are_spaced_and_the_last_is_shown() -> None:
    console, clock = Console(record=True, width=200, force_terminal=False, quiet=False), Clock()
    lines = _Lines(console, clock)
    lines.show(Tick("loading"))
    for done in range(101):
        lines.show(Tick("extracting", done, 100, "rows", ("5 rows/s",)))
        clock.now += LINE_INTERVAL / 20
    shown = console.export_text().splitlines()
    assert shown[:2] == ["loading ...", "extracting: 5 rows/s"]
    assert shown[2] == "extracting: 20/100  5 rows/s  20 s left"
    assert shown[-1] == "extracting: 100/100  5 rows/s"
    assert len(shown) == 7


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(quiet=True) as display:
        display.show(Tick("extracting", 1, 2))
    assert capsys.readouterr() == ("", "")


def test_off_a_terminal_there_are_no_bars(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(quiet=False) as display:
        display.show(Tick("extracting", 1, 2, "rows"))
    out, err = capsys.readouterr()
    assert (out, err) == ("", "extracting: 1/2\n")


DURATIONS = {
    0: "0.0 s",
    4.24: "4.2 s",
    59.4: "59 s",
    59.6: "1 min 00 s",
    185: "3 min 05 s",
    7630: "2 h 07 min",
}


@pytest.mark.parametrize(("seconds", "said"), DURATIONS.items())
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said
