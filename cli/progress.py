"""How far a long run is: a live bar on a terminal, a plain line every few seconds elsewhere, nothing with --quiet."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from . import console

LINE_INTERVAL = 5.0
"""Seconds between two plain lines of one stage."""

_BAR_WIDTH = 12
_TIME_AND_GAPS = 12
"""Columns of `0:12:34` and of the spaces between the parts of a live bar."""


@dataclass(frozen=True, slots=True)
class Tick:
    """One state of the work: `done` of `total` units (None: not known yet), and other figures."""

    stage: str
    done: int = 0
    total: int | None = None
    unit: str = ""
    stats: tuple[str, ...] = ()
    """Figures such as `loss 0.31`. The least important comes last, because a narrow terminal drops it."""
    facts: Mapping[str, float] = field(default_factory=dict)
    """The same for machines: `{"loss": 0.31}`."""


class Display(Protocol):
    def show(self, tick: Tick) -> None:
        """Draw this state of the work. A display may skip states that come too fast."""

    def note(self, text: str, event: str = "note") -> None:
        """Print a line that stays, above the bar if there is one. `event` is its name for machines."""


@contextmanager
def progress(quiet: bool) -> Iterator[Display]:
    """A display on stderr: events, a live bar or plain lines."""
    stderr = console.notes(quiet)
    if console.logs_json():
        yield _Events(quiet)
    elif not quiet and stderr.is_terminal:
        with _LiveBar(stderr) as bar:
            yield bar
    else:
        yield _Lines(stderr)


class _Count(ProgressColumn):
    """`1,200/50,000`, or `1,200 rows` while the end is unknown."""

    def render(self, task: Task) -> Text:
        if not task.completed and not task.total:
            return Text("")
        return Text(_count(int(task.completed), None if task.total is None else int(task.total), task.fields["unit"]))


class _LiveBar:
    """A single line that is redrawn in place and disappears at the end."""

    def __init__(self, stderr: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", style="bold"),
            BarColumn(bar_width=_BAR_WIDTH),
            _Count(),
            TextColumn("{task.fields[stats]}", style="cyan"),
            TimeRemainingColumn(compact=True),
            console=stderr,
            transient=True,
        )
        self._stage = ""
        self._task = self._progress.add_task("", total=None, unit="", stats="")

    def __enter__(self) -> "_LiveBar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, tick: Tick) -> None:
        if tick.stage != self._stage:
            # A new task forgets the speed of the stage before, which would spoil the time remaining.
            self._progress.remove_task(self._task)
            self._task = self._progress.add_task(tick.stage, total=tick.total, unit=tick.unit, stats="")
            self._stage = tick.stage
        taken = len(tick.stage) + len(_count(tick.done, tick.total, tick.unit)) + _BAR_WIDTH + _TIME_AND_GAPS
        stats = _fitting(tick.stats, self._progress.console.width - taken)
        self._progress.update(self._task, completed=tick.done, total=tick.total, unit=tick.unit, stats=stats)

    def note(self, text: str, event: str = "note") -> None:  # noqa: ARG002  # for people the text says it
        self._progress.console.print(text, soft_wrap=True)


class _Pace:
    """Chooses the ticks that get a line: the first and last of each stage, and one every LINE_INTERVAL seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._stage = ""
        self._stage_began = self._printed = 0.0
        self._done = 0

    def take(self, tick: Tick) -> float | None:
        """Seconds since the tick's stage began. None means that this tick gets no line."""
        now = self._clock()
        if tick.stage != self._stage:
            self._stage, self._stage_began = tick.stage, now
        elif now - self._printed < LINE_INTERVAL and (tick.done != tick.total or tick.done == self._done):
            return None
        self._printed, self._done = now, tick.done
        return now - self._stage_began


class _Events:
    """For machines: one JSON object a line."""

    def __init__(self, quiet: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet = quiet
        self._pace = _Pace(clock)

    def show(self, tick: Tick) -> None:
        if self._quiet or (seconds := self._pace.take(tick)) is None:
            return
        known = {
            "done": tick.done or None,
            "total": tick.total,
            "unit": tick.unit or None,
            "seconds": round(seconds, 3),
        }
        console.print_event("info", "progress", stage=tick.stage, **known, **tick.facts)

    def note(self, text: str, event: str = "note") -> None:
        console.note(text, event=event, quiet=self._quiet)


class _Lines:
    """For logs that people read."""

    def __init__(self, stderr: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = stderr
        self._pace = _Pace(clock)

    def show(self, tick: Tick) -> None:
        if (seconds := self._pace.take(tick)) is not None:
            self.note(self._line(tick, seconds))

    def note(self, text: str, event: str = "note") -> None:  # noqa: ARG002  # for people the text says it
        self._console.print(text, soft_wrap=True)

    def _line(self, tick: Tick, seconds: float) -> str:
        parts = [_count(tick.done, tick.total, tick.unit) if tick.done else "", *tick.stats]
        if seconds > 1 and tick.done and tick.total and tick.done < tick.total:
            parts.append(f"{duration(seconds * (tick.total - tick.done) / tick.done)} left")
        return f"{tick.stage}: {'  '.join(filter(None, parts))}" if any(parts) else f"{tick.stage} ..."


def _fitting(stats: tuple[str, ...], room: int) -> str:
    """The first `stats` that fit into `room` columns. A narrow terminal shows fewer figures, and no halves of one."""
    while stats and len("  ".join(stats)) > room:
        stats = stats[:-1]
    return "  ".join(stats)


def _count(done: int, total: int | None, unit: str) -> str:
    if total is None:
        return f"{done:,} {unit}".rstrip()
    return f"{done:,}/{total:,}{' MB' if unit == 'MB' else ''}"  # rows and steps are known by their stage


def duration(seconds: float) -> str:
    """Seconds as people say them: `4.2 s`, `3 min 05 s`, `2 h 07 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
