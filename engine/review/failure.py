"""Which rows of an output failed, and why. It reads the column `nerx_error`.

It reduces an error to its kind. A kind quotes no text, so it can appear outside of the output.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..columns import ERROR
from ..errors import OutputError
from ..writing.place import part_files, staging_folder

FIRST_ROWS = 10
"""Number of failed rows that a report names. It counts all of them."""

_KIND_ENDS = re.compile(r"[:;,(\"'`\n]")
_KIND_CHARACTERS = 80
_NUMBER = re.compile(r"(?<![\w-])[0-9][0-9,.]*\b")  # but not that of UTF-8


@dataclass(frozen=True, slots=True)
class FailedRow:
    """`row` counts from 0 over the whole output."""

    row: int
    kind: str


@dataclass(frozen=True, slots=True)
class Failures:
    """The number of failed rows of each kind, and the first failed rows."""

    per_kind: Mapping[str, int]
    first: tuple[FailedRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON, beside a run's other counts."""
        return {"failures_per_kind": dict(self.per_kind), "failed_rows": [asdict(row) for row in self.first]}


def failures_of(out: Path) -> Failures:
    """The failed rows of an output. If a run to it is unfinished, those of the rows that it has finished.

    Skips row groups whose statistics show no error. Raises OutputError when the output cannot be read.
    """
    pieces = sorted(staging_folder(out).glob("part-*.parquet"))
    kinds: Counter[str] = Counter()
    first: list[FailedRow] = []
    try:
        for row, error in _errors(pieces or part_files(out)):
            kind = kind_of(error)
            kinds[kind] += 1
            if len(first) < FIRST_ROWS:
                first.append(FailedRow(row, kind))
    except (pa.ArrowException, OSError) as error:
        raise OutputError(f"{out}: cannot be read ({error})") from error
    return Failures(dict(kinds.most_common()), tuple(first))


def kind_of(error: str) -> str:
    """The kind of an error: its message without numbers, and without anything that might quote a text."""
    unnumbered = _NUMBER.sub("N", error[: 2 * _KIND_CHARACTERS])
    return _KIND_ENDS.split(unnumbered, maxsplit=1)[0][:_KIND_CHARACTERS].strip()


def _errors(parts: list[Path]) -> Iterator[tuple[int, str]]:
    """Yield (row, error) of each failed row, in order."""
    row = 0
    for part in parts:
        with pq.ParquetFile(part, pre_buffer=False) as parquet:
            for index in range(parquet.metadata.num_row_groups):
                group = parquet.metadata.row_group(index)
                if not _is_fine(group):
                    errors = parquet.read_row_group(index, columns=[ERROR.name], use_threads=False).column(0)
                    for place in pc.indices_nonzero(errors.is_valid()).to_pylist():
                        yield row + place, errors[place].as_py()
                row += group.num_rows


def _is_fine(group: Any) -> bool:
    columns = (group.column(index) for index in reversed(range(group.num_columns)))
    found = next((column for column in columns if column.path_in_schema == ERROR.name), None)
    statistics = found.statistics if found is not None else None
    return bool(statistics is not None and statistics.has_null_count and statistics.null_count == group.num_rows)
