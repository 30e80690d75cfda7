"""What takes part in a benchmark: something that learns a task once and then answers for one or more rows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from nerx.engine.span import Span

from ..dataset import Task

Prediction = list[tuple[Span, ...]]
"""Spans of each text, in the order of the texts; sorted, never overlapping."""

Predict = Callable[[Sequence[str]], Prediction]
"""All labels of the task are asked on every text."""


class MissingRivalError(Exception):
    """A package that a row needs is not installed; the message says how to install it."""

    def __init__(self, row: str, package: str, remedy: str = "") -> None:
        remedy = remedy or "pip install -c constraints.txt -e '.[bench]'"
        super().__init__(f"the row {row!r} needs {package}: run {remedy}, or choose other --rows")


class Fitted(Protocol):
    """What a contender has learnt from one task's seeds."""

    def predictor(self, row: str) -> Predict:
        """What answers for `row`, loaded and ready: only its calls are timed as extraction."""

    def notes(self) -> Mapping[str, object]:
        """What is worth keeping beside the score, as JSON values."""


class Contender(Protocol):
    """`rows` are the table rows that one fit answers for. Without `seeded`, it is judged once a set, without seeds."""

    @property
    def rows(self) -> tuple[str, ...]: ...

    @property
    def seeded(self) -> bool: ...

    def settings(self, row: str) -> Mapping[str, object]:
        """Everything besides the data that this row's score depends on, as JSON values. Raises MissingRivalError."""

    def prepare(self) -> None:
        """Learns what is learnt once for all tasks, where it is not there yet. Not timed as part of a fit."""

    def fit(self, task: Task) -> Fitted:
        """Learns from the task's seeds alone, seeded by its draw. Neither reads the test texts."""
