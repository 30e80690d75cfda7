"""One trial: a contender learns a task, is timed, and is judged by nerx's own strict metrics. One cell a row."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from nerx.engine.review.metrics import evaluate

from ..cell import Cell, CellKey, CellStore
from ..dataset import Task
from ..machine import commit, this_machine
from .contender import Contender


def cell_key(contender: Contender, row: str, task: Task) -> CellKey:
    """Where the score of `row` on `task` is filed. Raises MissingRivalError when the row cannot be run here."""
    return CellKey(
        row=row,
        dataset=task.dataset,
        shots=task.shots,
        draw=task.draw,
        texts=len(task.test),
        data=task.digest,
        settings=contender.settings(row),
    )


def resume(
    store: CellStore,
    contender: Contender,
    rows: Sequence[str],
    task: Task,
    *,
    threads: int,
    done: Callable[[Cell], None] = lambda _: None,
) -> list[Cell]:
    """A cell for each of `rows`: from `store`, or else attempted, put there and told to `done`."""
    found = {row: store.get(cell_key(contender, row, task)) for row in rows}
    if missing := [row for row, cell in found.items() if cell is None]:
        for new in attempt(contender, missing, task, threads=threads):
            store.add(new)
            done(new)
            found[new.key.row] = new
    return [cell for cell in found.values() if cell is not None]


def attempt(contender: Contender, rows: Sequence[str], task: Task, *, threads: int) -> list[Cell]:
    """Fits once and judges each of `rows`, which must be rows of `contender`. `threads` is only written down."""
    contender.prepare()
    wall, cpu = time.perf_counter(), time.process_time()
    fitted = contender.fit(task)
    fit_seconds, fit_cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu

    cells = []
    for row in rows:
        predict = fitted.predictor(row)
        started = time.perf_counter()
        predicted = predict(task.texts)
        extract_seconds = time.perf_counter() - started
        score = evaluate(task.gold, predicted, task.texts, labels=task.labels).micro
        cells.append(
            Cell(
                key=cell_key(contender, row, task),
                precision=100 * score.precision,
                recall=100 * score.recall,
                f1=100 * score.f1,
                fit_seconds=fit_seconds,
                fit_cpu_seconds=fit_cpu_seconds,
                extract_seconds=extract_seconds,
                threads=threads,
                cpu=this_machine(()).cpu,
                commit=commit(),
                finished=datetime.now(UTC).isoformat(timespec="seconds"),
                notes=fitted.notes(),
            )
        )
    return cells
