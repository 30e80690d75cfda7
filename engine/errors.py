"""The exception tree. Every error that a user can cause is a :class:`NerxError`.

Its message says what is wrong, where, what nerx saw, and what to do. Its `exit_code` is that of the command line.

    NerxError                    1   a fault of ours
    |-- InputError               2   bad usage or bad input; nothing was written
    |   |-- SeedError                seeds or label files; lists every bad line
    |   |-- CorpusError              files to extract from
    |   |-- AdapterError             an adapter folder or its base
    |   `-- OutputError              the place to write to
    |-- TooManyFailuresError     3   finished, but more rows failed than allowed
    |-- DriftError               3   finished, but label rates moved more than allowed
    `-- OutputLockedError       75   another run holds the output
"""

from collections.abc import Sequence


class NerxError(Exception):
    """The root of the tree. `cli/app.py` catches it, and no other place does."""

    exit_code = 1


class InputError(NerxError):
    """Bad usage or bad input. Raised before anything is written."""

    exit_code = 2


class SeedError(InputError):
    """One or more bad lines in a seed or label file.

    `problems` holds one string per bad line, in file order: `file:line: what was seen; what to do`.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class CorpusError(InputError):
    """A corpus path that is missing, unreadable, or lacks the text column."""


class AdapterError(InputError):
    """An adapter folder that is missing, damaged, or made for another base."""


class OutputError(InputError):
    """An output path that exists already or cannot be written."""

    @classmethod
    def exists_already(cls, out: object, advice: str = "use --overwrite to replace it") -> "OutputError":
        """The error for an output that is there and must not be replaced."""
        return cls(f"{out}: exists already; {advice}")


class TooManyFailuresError(NerxError):
    """The run finished, but more rows failed than `--max-failures` allows."""

    exit_code = 3


class DriftError(NerxError):
    """Two outputs were compared, and label rates differ by more than `--max-drift` allows."""

    exit_code = 3


class OutputLockedError(NerxError):
    """Another run holds the output; try later."""

    exit_code = 75
