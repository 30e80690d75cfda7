"""A sink whose output is in an object store: built in a local folder as any other, and uploaded when it is whole.

Lock and staging are local, so a killed run goes on only on the machine that began it. What guards against another
machine that writes the same URI are the checks of `StoreOutput`: before the run, before the upload, and after it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..tally import Tally
from .fingerprint import digest_of
from .output import check_output
from .sink import Sink
from .staging import Piece
from .store_output import StoreOutput, telling


class StoreSink(Sink):
    """The output of one run, in a store; `settings` are those of :class:`Sink`."""

    def __init__(self, output: StoreOutput, *columns: Any, **settings: Any) -> None:
        self._output = output
        super().__init__(output.home, *columns, **settings)

    @property
    def name(self) -> str:
        return str(self._output)

    @property
    def _run(self) -> str:
        return digest_of(self._fingerprint)

    def _check(self) -> None:
        check_output(self._output, overwrite=self._overwrite)

    def _require_free(self) -> None:
        with telling(self._output):
            is_ours = self._overwrite or self._is_published or self._output.belongs_to(self._run)
        self._output.check(may_exist=is_ours)

    def _holds_own_result(self) -> bool:
        with telling(self._output):
            return self._output.is_finished(self._run)

    def _published_tally(self) -> Tally:
        with telling(self._output):
            return self._output.tally()

    def _publish_file(self, parts: Mapping[int, Sequence[Piece]]) -> None:
        self._output.put_file(self._build_file(parts))

    def _publish_folder(self, parts: Mapping[int, Sequence[Piece]]) -> None:
        self._output.put_folder(self._build_folder(parts or {0: []}), self._run)
