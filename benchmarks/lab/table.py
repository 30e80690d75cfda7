"""Cells to a table: mean and sd over draws, mean over sets, as Markdown and as JSON. Pure functions."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .cell import Cell

HEADLINE = tuple((row, shots) for row in ("nerx", "minilm", "minilm fair", "spacy") for shots in (5, 20))
"""What `mean` of the JSON always holds, null where it was not computed."""


@dataclass(frozen=True, slots=True)
class Score:
    """F1 of one (row, set, shots) in percent. `sd` is the sample standard deviation over draws, 0 for a single one."""

    mean: float
    sd: float
    draws: int

    def __str__(self) -> str:
        return f"{self.mean:.1f} ± {self.sd:.1f}" if self.draws > 1 else f"{self.mean:.1f}"


@dataclass(frozen=True, slots=True)
class Line:
    """One row at one shot count. `mean_f1` is the mean over sets of the means over draws; None while one lacks."""

    row: str
    shots: int
    scores: Mapping[str, Score]
    mean_f1: float | None
    fit_seconds: float
    fit_cpu_seconds: float

    @property
    def key(self) -> str:
        return mean_key(self.row, self.shots)


def mean_key(row: str, shots: int) -> str:
    """As in `mean` of the JSON: `nerx alpha 0` at 5 shots is `nerx_alpha0_5`."""
    first, *rest = row.replace("-", "").split(" ")
    return "_".join(part for part in (first, "".join(rest), str(shots)) if part)


def summarise(cells: Iterable[Cell], rows: Sequence[str], sets: Sequence[str], shots: Sequence[int]) -> list[Line]:
    """A line for each (shots, row) that has a cell, in the order of `shots` and `rows`."""
    cells = list(cells)
    lines = []
    for count in shots:
        for row in rows:
            mine = [cell for cell in cells if cell.key.row == row and cell.key.shots == count]
            if mine:
                lines.append(_line(row, count, mine, sets))
    return lines


def _line(row: str, shots: int, cells: Sequence[Cell], sets: Sequence[str]) -> Line:
    scores = {}
    for name in sets:
        if found := [cell.f1 for cell in cells if cell.key.dataset == name]:
            scores[name] = Score(statistics.mean(found), statistics.stdev(found) if found[1:] else 0.0, len(found))
    is_whole = len(scores) == len(sets) and len({score.draws for score in scores.values()}) == 1
    return Line(
        row=row,
        shots=shots,
        scores=scores,
        mean_f1=statistics.mean(score.mean for score in scores.values()) if is_whole else None,
        fit_seconds=statistics.mean(cell.fit_seconds for cell in cells),
        fit_cpu_seconds=statistics.mean(cell.fit_cpu_seconds for cell in cells),
    )


def markdown(lines: Sequence[Line], sets: Sequence[str]) -> str:
    """Columns padded to equal width, so that the same text serves terminal and file."""
    draws = max((score.draws for line in lines if line.shots for score in line.scores.values()), default=1)
    table = [["shots", "row", *sets, "mean", "fit s", "cpu s"], *(_fields(line, sets, draws) for line in lines)]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    table.insert(1, ["-" * (width - 1) + ":" if at != 1 else "-" * width for at, width in enumerate(widths)])
    return "".join(f"| {' | '.join(_padded(row, widths))} |\n" for row in table)


def _fields(line: Line, sets: Sequence[str], draws: int) -> list[str]:
    """`draws` is how many there should be: where there are fewer seeds' draws, their number stands behind the score."""
    shown = {
        name: f"{score} ({score.draws})" if line.shots and score.draws < draws else str(score)
        for name, score in line.scores.items()
    }
    return [
        str(line.shots),
        line.row,
        *(shown.get(name, "-") for name in sets),
        "-" if line.mean_f1 is None else f"{line.mean_f1:.1f}",
        f"{line.fit_seconds:.0f}",
        f"{line.fit_cpu_seconds:.0f}",
    ]


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Numbers to the right, the row's name to the left."""
    return [
        cell.ljust(width) if at == 1 else cell.rjust(width)
        for at, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def to_dict(lines: Sequence[Line]) -> dict[str, Any]:
    """`mean`: F1 over sets and draws by `Line.key`, percent; HEADLINE is always there. `rows`: every line in full."""
    means = {line.key: round(line.mean_f1, 2) for line in lines if line.mean_f1 is not None}
    return {
        "mean": {**dict.fromkeys(mean_key(row, shots) for row, shots in HEADLINE), **means},
        "rows": [
            {
                "row": line.row,
                "shots": line.shots,
                "f1": {
                    name: {"mean": round(score.mean, 2), "sd": round(score.sd, 2), "draws": score.draws}
                    for name, score in line.scores.items()
                },
                "fit_seconds": round(line.fit_seconds, 1),
                "fit_cpu_seconds": round(line.fit_cpu_seconds, 1),
            }
            for line in lines
        ],
    }
