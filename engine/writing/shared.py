"""A folder that several machines fill, each with the shards of its share and none knowing of the others.

Every share has a lock and a staging folder of its own beside the folder, and puts there parts that carry the number
of their shard in the whole corpus. So names never collide, and when all are done the folder is the one that a single
run over the same shards would have made. What a share has finished appears when *it* is finished.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ..errors import OutputError
from ..origin import Origin
from ..share import Share
from ..tally import Tally
from .atomic import sync
from .fingerprint import Run
from .local import is_of
from .part import file_facts, output_tally
from .place import check_place, is_single, part_name, part_number


@dataclass(frozen=True, slots=True)
class SharedFolder:
    """One `share` of the folder at `path`. See :class:`~.output.Output`.

    All shares are one run: parts of another one are refused. A run that overwrites removes the old parts that are its
    own by number, so that all are gone when all shares are done.
    """

    path: Path
    share: Share

    def __str__(self) -> str:
        return str(self.path)

    @property
    def home(self) -> Path:
        """One for each share, so that they neither wait for one another nor mix."""
        return self.path.with_name(f"{self.path.name}-{self.share.index}-of-{self.share.count}")

    @property
    def is_single(self) -> bool:
        return False

    def check(self, *, may_exist: bool, inputs: Iterable[str] = ()) -> None:  # noqa: ARG002  # other shares' parts may
        if is_single(self.path):
            raise OutputError(f"{self}: with --shard the output is a folder that all shards share; name one")
        check_place(self.path, may_exist=True, inputs=inputs)

    def require_free(self, run: Run) -> None:
        for part in sorted(self.path.glob("part-*.parquet")):
            if not is_of(part, run):
                changes = _changes(part, run.origin)
                raise OutputError(f"{part}: {changes}; use --overwrite on every shard, or another --out")
        if run.shards and not run.goes_on and self.is_finished(run):
            raise OutputError(f"{self}: has the parts of shard {self.share} already; use --overwrite")

    def is_finished(self, run: Run) -> bool:
        return all(part.exists() and is_of(part, run) for part in self._parts(run))

    def tally(self, run: Run) -> Tally:
        return sum((output_tally(part) for part in self._parts(run)), Tally())

    def put(self, built: Path) -> None:
        self.path.mkdir(exist_ok=True)
        parts = sorted(built.iterdir())
        for part in parts:
            part.replace(self.path / part.name)
        for part in self.path.glob("part-*.parquet"):
            if self.share.takes(part_number(part.name)) and part.name not in {new.name for new in parts}:
                part.unlink()
        sync(self.path)
        sync(self.path.parent)
        shutil.rmtree(built)

    def _parts(self, run: Run) -> list[Path]:
        return [self.path / part_name(number) for number in run.shards]


def _changes(part: Path, origin: Origin) -> str:
    """What tells a part of another run from those of `origin`, as far as its metadata say."""
    try:
        before = Origin.said(file_facts(part))
    except (pa.ArrowException, OSError, ValueError) as error:
        return f"cannot be read ({error})"
    changes = "; ".join(before.changes(origin, version=True)) or "input: other files, or cut into other shards"
    return f"is of a run that differs ({changes})"
