"""`nerx fit`: options -> adapters.fit -> a table per label."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import console, tables
from .interrupt import Stopped
from .options import TUNING, Device, DeviceOption, JsonOption, LogFormatOption, OverwriteOption, QuietOption
from .progress import Display, Tick, duration, progress

if TYPE_CHECKING:
    from ..adapters.fit import FitEvent, FitResult


OTHER_BASE = (
    "--base smollm2 finds more and takes longer: F1 60 instead of 54 with 5 mentions a label, and about a seventh of "
    "the texts a second (docs/bases.md)"
)
"""Measured by benchmarks/quality/few_shot.py, one draw, and on texts of 120 tokens, on two CPU cores."""

_STAGES = {
    "read": "reading",
    "load": "loading",
    "fetch": "fetching",
    "convert": "converting",
    "wait": "waiting for another process that prepares",
    "rehearse": "rehearsing",
    "train": "training",
    "evaluate": "evaluating",
    "save": "saving",
}


class Budget(StrEnum):
    QUICK = "quick"
    NORMAL = "normal"
    THOROUGH = "thorough"


def fit(
    seeds: Annotated[Path, typer.Argument(metavar="SEEDS.jsonl", help="Annotated texts, one JSON object per line.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write the adapter to.")] = Path("nerx-adapter"),
    base: Annotated[
        str,
        typer.Option(
            metavar="BASE",
            help="Language model to adapt: `embedded` (inside nerx), `smollm2` (fetched once), a folder, a .gguf file "
            "or a hub id.",
        ),
    ] = "embedded",
    dev: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.jsonl", help="Annotated texts to measure on. Without them nerx holds some seeds out."
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Labels with one-line descriptions, which the model reads.")
    ] = None,
    overwrite: OverwriteOption = False,
    budget: Annotated[
        Budget, typer.Option(help="How long to train, and how large an adapter to make.", rich_help_panel=TUNING)
    ] = Budget.NORMAL,
    rank: Annotated[int | None, typer.Option(metavar="N", min=1, help="LoRA rank.", rich_help_panel=TUNING)] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Passes over the seeds.", rich_help_panel=TUNING)
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(metavar="X", min=0, help="Peak learning rate.", rich_help_panel=TUNING)
    ] = None,
    contrast: Annotated[
        float | None,
        typer.Option(
            metavar="X", min=0, help="Weight of the contrastive loss. 0 turns it off.", rich_help_panel=TUNING
        ),
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            min=0,
            max=1,
            help="nerx extract leaves out entities less probable than this.",
            rich_help_panel=TUNING,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            metavar="N", help="The same seed on the same machine makes the same adapter.", rich_help_panel=TUNING
        ),
    ] = 0,
    device: DeviceOption = Device.AUTO,
    json: JsonOption = False,
    quiet: QuietOption = False,
    log_format: LogFormatOption = console.LogFormat.TEXT,  # noqa: ARG001  # its callback acts
) -> None:
    """Learn a domain: train an adapter from a few dozen annotated texts.

    Each annotated text is a seed: one line of JSON. Offsets count Unicode
    characters. `end` is the first character after the entity:

      {"text": "To Rome", "entities": \\[{"start": 3, "end": 7, "label": "city"}]}

    [bold not dim]Examples[/]

      [cyan]nerx fit seeds.jsonl[/]
      [cyan]nerx fit seeds.jsonl --dev dev.jsonl --out adapters/freight[/]
      [cyan]nerx fit seeds.jsonl --base smollm2[/]
      [cyan]nerx fit seeds.jsonl --base ./Qwen3-0.6B --device cuda --json[/]
    """
    with progress(quiet) as display:
        display.show(Tick("starting"))
        from ..adapters.config import FitConfig
        from ..adapters.fit import fit as train

        config = FitConfig(
            seeds=seeds, out=out, base=base, dev=dev, labels=labels, seed=seed, device=device.value,
            budget=budget.value, rank=rank, epochs=epochs, learning_rate=learning_rate, contrast=contrast,
            min_score=min_score, overwrite=overwrite,
        )  # fmt: skip
        try:
            result = train(config, lambda event: _show(display, event))
        except Stopped:
            display.note("stopped: no adapter was written", "stopped")
            raise
    for warning in result.warnings:
        console.note(f"warning: {warning}", event="warning", level="warning", quiet=quiet)
    if json:
        console.print_json(_plain(result))
    else:
        _print(result)
        hint = f"use it: nerx extract CORPUS --adapter {result.adapter}"
        console.note(hint, event="hint", quiet=quiet)
        if base == "embedded":
            console.note(OTHER_BASE, event="hint", quiet=quiet)


def _show(display: Display, event: "FitEvent") -> None:
    if event.stage == "unprimed":
        display.note(f"warning: {event.note}", "warning")
    else:
        display.show(_tick(event))


def _tick(event: "FitEvent") -> Tick:
    losses = [("loss", event.loss), ("contrast", event.contrast), ("draft", event.draft)]
    stats = [f"{name} {value:.3f}" for name, value in losses if value is not None]
    facts = {name: value for name, value in [*losses, ("dev_f1", event.dev_f1)] if value is not None}
    if event.dev_f1 is not None:
        stats.insert(1, f"dev F1 {tables.percent(event.dev_f1)}")
    stage, unit = _STAGES.get(event.stage, event.stage), "steps"
    if event.stage in ("fetch", "convert", "wait"):
        stage, unit = f"{stage} {event.note}", "MB"
    elif event.note:
        stats.append(event.note)
    return Tick(stage, event.step, event.steps or None, unit, tuple(stats), facts)


def _print(result: "FitResult") -> None:
    made = f"{result.adapter}: an adapter for {len(result.labels)} labels, made in {duration(result.seconds)}"
    if result.evaluation is None:
        console.print_result(made, "too few seeds to hold any out: not evaluated")
    else:
        heading = f"Strict scores on {result.evaluation.texts:,} texts held out from training"
        console.print_result(heading, tables.score_table(result.evaluation), made)


def _plain(result: "FitResult") -> dict[str, object]:
    return {
        "adapter": str(result.adapter),
        "labels": list(result.labels.names),
        "alpha": result.alpha,
        "seconds": result.seconds,
        "evaluation": result.evaluation.to_dict() if result.evaluation else None,
        "warnings": list(result.warnings),
    }
