"""`nerx prime`: options -> adapters.priming -> one line."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..engine.errors import InputError
from . import console
from .interrupt import Interrupt
from .options import RUNNING, TUNING, Device, DeviceOption, JsonOption, LogFormatOption, QuietOption
from .progress import Tick, duration, progress

if TYPE_CHECKING:
    from ..adapters.priming.stage import PrimeEvent, PrimeResult


_STAGES = {
    "read": "reading",
    "load": "loading",
    "fetch": "fetching",
    "convert": "converting",
    "wait": "waiting for another process that prepares",
    "resume": "going on",
    "prime": "priming",
    "save": "saving",
}


class TrainingPrecision(StrEnum):
    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def prime(
    base: Annotated[
        str, typer.Argument(metavar="BASE", help="Language model: a name, a folder, a .gguf file or a hub id.")
    ],
    data: Annotated[
        list[Path],
        typer.Option(metavar="FOLDER", help="An annotated set, or a folder of sets. You can give several."),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the primed base goes; a new folder.")],
    tokens: Annotated[int, typer.Option(metavar="N", min=1, help="Tokens to train on.")] = 1_000_000,
    held_out: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER", help="Sets to measure on. nerx leaves out texts that share 13 words in a row with them."
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON with synonyms and descriptions of the labels.")
    ] = None,
    rank: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="LoRA rank.", show_default="64", rich_help_panel=TUNING)
    ] = None,
    all_weights: Annotated[
        bool,
        typer.Option("--all-weights", metavar="", help="Train the weights themselves.", rich_help_panel=TUNING),
    ] = False,
    layers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Keep the first N layers.", show_default="all", rich_help_panel=TUNING),
    ] = None,
    batch: Annotated[int, typer.Option(metavar="N", min=1, help="Tokens in a step.", rich_help_panel=TUNING)] = 900,
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            min=0,
            help="Peak learning rate.",
            show_default="8e-4; 1.5e-4 for all weights",
            rich_help_panel=TUNING,
        ),
    ] = None,
    share: Annotated[
        int, typer.Option(metavar="N", min=1, help="At most N texts share one list of labels.", rich_help_panel=TUNING)
    ] = 4,
    weight: Annotated[
        list[str] | None,
        typer.Option(metavar="SET=X", help="Draw a set X times as often.", rich_help_panel=TUNING),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            metavar="N", help="The same seed on the same machine makes the same weights.", rich_help_panel=TUNING
        ),
    ] = 0,
    precision: Annotated[
        TrainingPrecision,
        typer.Option(help="Number format of training. auto is bfloat16 if the device has it.", rich_help_panel=RUNNING),
    ] = TrainingPrecision.AUTO,
    checkpointing: Annotated[
        bool,
        typer.Option(
            "--checkpointing",
            metavar="",
            help="Gradient checkpointing: it needs less memory and is slower.",
            rich_help_panel=RUNNING,
        ),
    ] = False,
    every: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Time between two checkpoints.", rich_help_panel=RUNNING)
    ] = 240,
    device: DeviceOption = Device.AUTO,
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="CPU threads.", show_default="all cores", rich_help_panel=RUNNING),
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    log_format: LogFormatOption = console.LogFormat.TEXT,  # noqa: ARG001  # its callback acts
) -> None:
    """Prime a language model: teach it to mark entities, before any domain.

    A primed base needs far fewer seeds in `nerx fit`. You prime a model once,
    on annotated sets of many domains: folders with .jsonl files (or .jsonl.zst)
    in the format of seeds. A file `train.jsonl` is read alone.

    You can stop at any time. To continue, run the same command again.

    [bold not dim]Examples[/]

      [cyan]nerx prime smollm2 --data sets --out bases/mine[/]
      [cyan]nerx prime ./Qwen3-0.6B --data sets --held-out dev --out qwen-primed[/]
      [cyan]nerx prime model.gguf --data sets --out small --layers 20[/]
    """
    with progress(quiet) as display:
        display.show(Tick("starting"))
        from ..adapters.priming.config import PrimeConfig
        from ..adapters.priming.stage import prime as train

        config = PrimeConfig(
            base=base, data=tuple(data), out=out, tokens=tokens, rank=rank, all_weights=all_weights, layers=layers,
            batch=batch, rate=rate, share=share, held_out=tuple(held_out or ()), labels=labels,
            set_weights=dict(map(_set_weight, weight or ())), precision=precision.value, checkpointing=checkpointing,
            every=every, seed=seed, device=device.value, threads=threads,
        )  # fmt: skip
        interrupt = Interrupt(lambda: display.note("stopping: writing a checkpoint ...", "stopping"))

        def hear(event: "PrimeEvent") -> None:
            if event.stage == "begin":
                interrupt.arm()  # only now: before, a signal may end the command at once
            else:
                display.show(_tick(event))

        try:
            result = train(config, hear, lambda: interrupt.requested)
        finally:
            interrupt.disarm()
        if not result.finished:
            display.note(
                f"stopped after {result.point.tokens:,} of {tokens:,} tokens, kept in {result.work}: run the same "
                "command again to go on",
                "stopped",
            )
            raise typer.Exit(interrupt.exit_code)
    if json:
        console.print_json(_plain(result))
    else:
        point = result.point
        console.print_result(
            f"{result.base}: {base}, primed with {point.tokens:,} tokens ({point.rows:,} texts) of "
            f"{len(result.sets)} sets in {duration(point.seconds)}"
        )
        console.note(f"use it: nerx fit SEEDS.jsonl --base {result.base}", event="hint", quiet=quiet)


def _set_weight(told: str) -> tuple[str, float]:
    name, equals, value = told.rpartition("=")
    try:
        factor = float(value)
    except ValueError:
        equals = ""
    if not equals:
        raise InputError(f"--weight {told}: write the name of a set and a number, as in --weight news=0.5")
    return name, factor


def _tick(event: "PrimeEvent") -> Tick:
    stats, facts = [], {}
    if event.point is not None:
        facts = {"loss": event.point.legal, "draft": event.point.draft, "contrast": event.point.contrast}
        stats = [f"{name} {value:.3f}" for name, value in facts.items()]
    if event.rate is not None:
        stats.insert(1, f"{event.rate:,.0f} tokens/s")
        facts["tokens_per_second"] = round(event.rate, 1)
    if event.note:
        stats.append(event.note)
    unit = {"fetch": "MB", "read": "sets"}.get(event.stage, "tokens")
    return Tick(_STAGES.get(event.stage, event.stage), event.done, event.total or None, unit, tuple(stats), facts)


def _plain(result: "PrimeResult") -> dict[str, Any]:
    point = result.point
    return {
        "base": str(result.base),
        "tokens": point.tokens,
        "texts": point.rows,
        "steps": point.step,
        "seconds": round(point.seconds, 1),
        "tokens_per_second": round(result.rate, 1),
        "losses": {"legal": point.legal, "draft": point.draft, "contrast": point.contrast},
        "sets": [
            {"name": one.source.name, "texts": len(one.content.rows), "left_out": one.left_out} for one in result.sets
        ],
    }
