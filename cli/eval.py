"""`nerx eval`: an adapter against annotated texts -> adapters.evaluate -> tables."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import console, tables
from .options import BaseOption, Device, DeviceOption, JsonOption, LogFormatOption, QuietOption, ReportOption
from .progress import Tick, progress

if TYPE_CHECKING:
    from ..engine.review.metrics import Evaluation

MISTAKES = 5
"""Number of mixed-up labels that are listed below the table."""


def evaluate(
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="The folder that `nerx fit` made.")],
    test: Annotated[Path, typer.Argument(metavar="TEST.jsonl", help="Annotated texts, in the format of seeds.")],
    report: ReportOption = None,
    device: DeviceOption = Device.AUTO,
    base: BaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    log_format: LogFormatOption = console.LogFormat.TEXT,  # noqa: ARG001  # its callback acts
) -> None:
    """Measure an adapter: strict F1 per label on annotated texts.

    An entity is right if its start, its end and its label are right.

    Below the table you see how many mentions it finds that are not in the
    seeds. You also see which labels it mixes up, and how far its scores are
    off.

    [bold not dim]Examples[/]

      [cyan]nerx eval nerx-adapter test.jsonl[/]
      [cyan]nerx eval nerx-adapter test.jsonl --json | jq .micro.f1[/]
    """
    with progress(quiet) as display:
        display.show(Tick("loading"))
        from ..adapters.reader import read_seeds

        seeds = read_seeds(test, training=False)  # before torch is loaded: bad lines are reported at once
        from ..adapters.evaluate import evaluate_adapter
        from ..engine.tagging.extractor import Extractor

        extractor = Extractor.load(adapter, device=device.value, base=base)
        display.show(Tick("evaluating"))
        evaluation = evaluate_adapter(extractor, seeds.seeds)
    if report:
        console.write_json(report, evaluation.to_dict())
    if json:
        console.print_json(evaluation.to_dict())
    else:
        heading = f"Strict scores on {evaluation.texts:,} texts of {test}"
        console.print_result(heading, tables.score_table(evaluation), "\n".join(_readings(evaluation)))


def _readings(evaluation: "Evaluation") -> list[str]:
    lines = []
    for name, counts in (("in", evaluation.seen), ("not in", evaluation.unseen)):
        if gold := counts.tp + counts.fn:
            lines.append(
                f"mentions {name} the seeds: {counts.tp:,} of {gold:,} found ({tables.percent(counts.recall)} %)"
            )
    ranked = sorted(evaluation.confusion.items(), key=lambda item: (-item[1], item[0]))
    lines += [f"mixed up: {gold} taken for {guess}, {count:,} times" for (gold, guess), count in ranked[:MISTAKES]]
    if evaluation.calibration:
        lines.append(f"scores are off by {tables.percent(evaluation.calibration_error)} points on average")
    return lines
