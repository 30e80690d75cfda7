"""A folder that several machines fill, each with the shards of its share and none knowing of the others.

Every share has a lock and a staging folder of its own beside the folder, and publishes parts that carry the number
of their shard in the whole corpus. So names never collide, and when all are done the folder is the one that a single
run over the same shards would have made. What a share has finished appears when *it* is finished.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import OutputError
from ..reading.share import Share
from ..tally import Tally
from .fingerprint import differences
from .output import check_output, output_tally
from .place import is_single
from .publication import sync
from .sink import Sink
from .staging import Piece


def share_place(out: Path, share: Share) -> Path:
    """What the lock and the staging folder of one share are named after."""
    return out.with_name(f"{out.name}-{share.index}-of-{share.count}")


class SharedSink(Sink):
    """The sink of one `share`; see :class:`~.sink.Sink`. `numbers` are those of its shards, in order.

    The fingerprint is that of the whole run, equal for all shares: parts of another one are refused on entry. With
    `overwrite` each share removes the old parts that are its own by number, so that all are gone when all are done.
    """

    def __init__(self, out: Path, *arguments: Any, share: Share, numbers: Sequence[int], **options: Any) -> None:
        self._share = share
        self._numbers = numbers
        super().__init__(out, *arguments, **options)

    @property
    def _place(self) -> Path:
        return share_place(self.out, self._share)

    @property
    def _own(self) -> list[Path]:
        return [self.out / f"part-{number:05d}.parquet" for number in self._numbers]

    def _published_tally(self) -> Tally:
        return sum((output_tally(part) for part in self._own), Tally())

    def _check(self) -> None:
        if is_single(self.out):
            raise OutputError(f"{self.out}: with --shard the output is a folder that all shards share; name one")
        # Parts of other shares may be there already.
        check_output(self.out, overwrite=True)

    def _require_free(self) -> None:
        self._check()
        if self._overwrite or self._is_published:
            return
        for part in sorted(self.out.glob("part-*.parquet")):
            if not self._is_own(part):
                raise OutputError(f"{part}: {self._difference(part)}; use --overwrite on every shard, or another --out")
        if not self._was_under_way and self._numbers and self._holds_own_result():
            raise OutputError(f"{self.out}: has the parts of shard {self._share} already; use --overwrite")

    def _holds_own_result(self) -> bool:
        return all(part.exists() and self._is_own(part) for part in self._own)

    def _difference(self, part: Path) -> str:
        """What tells a part of another run from ours, as far as its metadata says."""
        try:
            metadata = pq.read_metadata(part).metadata or {}
        except (pa.ArrowException, OSError) as error:
            return f"cannot be read ({error})"
        names = ("adapter", "options", "base_digest", "text_column", "version")
        before, now = (
            {name: value.decode() for name in names if (value := said.get(f"nerx.{name}".encode()))}
            for said in (metadata, self._staging.schema.metadata)
        )
        changes = "; ".join(differences(before, now)) or "input: other files, or cut into other shards"
        return f"is of a run that differs ({changes})"

    def _publish_folder(self, parts: Mapping[int, Sequence[Piece]]) -> None:
        folder = self._build_folder(parts)
        self.out.mkdir(exist_ok=True)
        for part in sorted(folder.iterdir()):
            part.replace(self.out / part.name)
        for part in self.out.glob("part-*.parquet") if self._overwrite else ():
            number = int(part.stem.removeprefix("part-"))
            if self._share.takes(number) and number not in parts:
                part.unlink()
        sync(self.out)
        sync(self.out.parent)
        shutil.rmtree(folder)
