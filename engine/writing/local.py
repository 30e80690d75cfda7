"""An output on this machine: a file, or a folder of parts, that takes its name in one step."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ..errors import OutputError
from ..origin import RUN
from ..tally import Tally
from .atomic import sync
from .fingerprint import Run
from .part import file_facts, output_tally
from .place import check_place, has_content, is_single, old_folder, part_files


@dataclass(frozen=True, slots=True)
class LocalOutput:
    """The file or folder at `path`. See :class:`~.output.Output`."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def home(self) -> Path:
        return self.path

    @property
    def is_single(self) -> bool:
        return is_single(self.path)

    def check(self, *, may_exist: bool, inputs: Iterable[str] = ()) -> None:
        check_place(self.path, may_exist=may_exist, inputs=inputs)

    def require_free(self, run: Run) -> None:  # noqa: ARG002  # nothing is ever there in part
        if self.path.exists() and has_content(self.path):
            raise OutputError.exists_already(self)

    def is_finished(self, run: Run) -> bool:
        """A folder is renamed as a whole: its first part tells of all."""
        first = next(iter(part_files(self.path)), None)
        return first is not None and is_of(first, run)

    def tally(self, run: Run) -> Tally:  # noqa: ARG002  # all of it is the run's
        return output_tally(self.path)

    def put(self, built: Path) -> None:
        if self.is_single:
            built.replace(self.path)
        else:
            if self.path.exists() and any(self.path.iterdir()):
                # Two folders cannot be exchanged in one step: a kill between these lines leaves no output for the
                # moment, and a rerun, which finds every piece in staging, publishes it.
                old = old_folder(self.home)
                shutil.rmtree(old, ignore_errors=True)
                self.path.rename(old)
            built.rename(self.path)
        sync(self.path.parent)


def is_of(part: Path, run: Run) -> bool:
    """Whether a file came from a run of the same fingerprint."""
    try:
        return file_facts(part).get(RUN) == run.digest
    except (pa.ArrowException, OSError):
        return False
