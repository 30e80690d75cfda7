"""`nerx inspect`: what an adapter or an output is."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import console, tables
from .enriched import Enriched
from .options import JsonOption
from .progress import duration

if TYPE_CHECKING:
    from ..engine.card import AdapterCard

_ORIGIN = ("version", "adapter", "base", "options", "text_column", "offset_unit")
"""Facts in an output's metadata that say something to people."""

_DIGEST = 12
"""Digits of a digest that are shown; --json has them all."""


def inspect(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="An adapter folder, or what `nerx extract` wrote.")],
    json: JsonOption = False,
) -> None:
    """Say what an adapter or an output is.

    Of an adapter: labels, base, scores, what training took. Of an output: rows,
    entities per label, failures, and what made it.

    [bold not dim]Examples[/]

      [cyan]nerx inspect nerx-adapter[/]
      [cyan]nerx inspect corpus.nerx.parquet --json[/]
    """
    if (path / "nerx.json").is_file():
        from ..engine.card import AdapterCard

        _show_adapter(path, AdapterCard.read(path), json)
    else:
        _show_output(path, json)


def _show_adapter(path: Path, card: "AdapterCard", json: bool) -> None:
    if json:
        console.print_json({"kind": "adapter", "path": str(path), **card.to_dict()})
        return
    facts = [
        ("base", f"{card.base} ({card.base_digest[:_DIGEST]})"),
        ("digest", card.digest[:_DIGEST]),
        ("seeds", f"{card.seeds:,} texts ({card.seeds_digest[:_DIGEST]})"),
        ("LoRA rank", str(card.rank)),
        ("evidence", f"alpha {card.alpha:g}, temperature {card.temperature:g}"),
        (
            "training",
            f"{duration(card.seconds)} on {card.device}, {_gigabytes(card.peak_bytes)}, {card.flops:.1e} FLOPs",
        ),
        ("made", f"{card.created} by nerx {card.nerx_version}"),
        ("options", _settings(card.options)),
    ]
    console.print_result(str(path), tables.fact_table(facts), tables.label_table(card.labels, card.scores))


def _show_output(path: Path, json: bool) -> None:
    from ..engine.output import output_tally

    enriched = Enriched(path)
    tally = output_tally(path)
    if json:
        console.print_json({"kind": "output", "path": str(path), **asdict(tally), "metadata": enriched.metadata})
        return
    origin = {**enriched.metadata, "adapter": enriched.metadata.get("adapter", "")[:_DIGEST]}
    facts = [
        ("rows", f"{tally.rows:,}"),
        ("texts", f"{tally.texts:,}"),
        ("failed rows", f"{tally.failures:,}"),
        ("entities", f"{tally.entities:,}"),
        ("time", duration(tally.seconds)),
        ("files", f"{len(enriched.parts):,}"),
        *((name.replace("_", " "), origin[name]) for name in _ORIGIN if name in origin),
    ]
    counts = [tables.count_table(tally.entities_per_label)] if tally.entities_per_label else []
    console.print_result(str(path), tables.fact_table(facts), *counts)


def _settings(options: Mapping[str, object]) -> str:
    """What was chosen; nested details are left to --json."""
    chosen = {name: value for name, value in options.items() if value is not None and not isinstance(value, dict)}
    return ", ".join(f"{name} {value}" for name, value in chosen.items() if name not in {"out", "overwrite"})


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB at most"
