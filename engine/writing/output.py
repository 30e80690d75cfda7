"""What a sink asks of the place that its result goes to, and the three kinds of place that there are.

A new one (a table, a queue) is a class with these members, and a line in `open_output`.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from ..reading.store import StorePath, is_uri
from ..share import Share
from ..tally import Tally
from .fingerprint import Run
from .local import LocalOutput
from .lock import require_unlocked
from .place import is_under_way, lock_file
from .shared import SharedFolder
from .store_output import StoreOutput


class Output(Protocol):
    """Where the result of one run goes. Its `str` is what messages and summaries call it.

    A run puts it there when all of it is built, so there is either another result or the whole of this one; what a
    kill may leave in between is for `is_finished` to tell.
    """

    @property
    def home(self) -> Path:
        """The local name beside which the lock, the staging folder and what is being replaced are kept, hidden."""

    @property
    def is_single(self) -> bool:
        """Whether it is one file and not a folder of parts."""

    def check(self, *, may_exist: bool, inputs: Iterable[str] = ()) -> None:
        """Raises OutputError when it cannot be an output, or holds a result and `may_exist` is not given."""

    def require_free(self, run: Run) -> None:
        """Raises OutputError when something is there that `run` has not put there. Asked unless it may overwrite."""

    def is_finished(self, run: Run) -> bool:
        """Whether all that `run` puts there is in place. Raises OutputError when that cannot be seen."""

    def tally(self, run: Run) -> Tally:
        """The counts stored in what `run` has put there. Raises OutputError."""

    def put(self, built: Path) -> None:
        """Take what has been built, a file or a folder of parts named as they are to be. Raises OSError, OutputError.

        A kill at any moment leaves what the next `put` completes, or `is_finished`.
        """


def open_output(name: str | Path, work: Path | None = None, *, share: Share | None = None) -> Output:
    """The output that a user calls `name`: a local path, or one in a store, built in `work` before it is uploaded.

    `work` is by default the folder in which programs keep what has to outlive them (XDG_STATE_HOME). With `share`, the
    folder that all shares fill. Raises InputError for a URI that nerx cannot read.
    """
    if is_uri(name):
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
        return StoreOutput(StorePath.parse(str(name)), work or state / "nerx")
    return LocalOutput(Path(name)) if share is None else SharedFolder(Path(name), share)


def check_output(output: Output, *, overwrite: bool, inputs: Iterable[str] = ()) -> None:
    """Raises OutputError when a run to `output` cannot begin.

    One that exists is let pass while a run to it is under way or was cut short; whether it is that run's own is for
    the sink to see.
    """
    output.check(may_exist=overwrite or is_under_way(output.home), inputs=inputs)


def require_free(output: Output, *, overwrite: bool = False) -> None:
    """To ask before files are read through and a model is loaded: `check_output`, and OutputLockedError."""
    check_output(output, overwrite=overwrite)
    require_unlocked(lock_file(output.home), output)
