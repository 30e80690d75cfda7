"""`nerx inspect`: shows what an adapter or an output is."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..engine.errors import InputError, OutputError
from . import console, tables
from .options import JsonOption
from .progress import duration

if TYPE_CHECKING:
    from ..engine.review.verification import Verification
    from ..engine.tagging.card import AdapterCard

_ORIGIN = ("version", "adapter", "base", "base_digest", "input_digest", "run", "options", "text_column", "offset_unit")
"""Facts in an output's metadata that people can use."""

_MANIFEST = ("version", "adapter", "base", "base_digest", "options")
_INPUTS = 5
"""Number of input files of an unfinished run that are listed."""
_DIGESTS = ("adapter", "base_digest", "input_digest", "run")
_DIGEST = 12
"""Number of digits of a digest that are shown. --json has them all."""


def inspect(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="An adapter folder, or what `nerx extract` wrote.")],
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", metavar="", help="Check every row, count and digest. Exit with code 2 if one is wrong."
        ),
    ] = False,
    adapter: Annotated[
        Path | None, typer.Option(metavar="DIR", help="With --verify, compare this adapter with the recorded one.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show what an adapter or an output is.

    For an adapter you see its labels, its base, its scores, and what training
    took. For an output you see its rows, its entities per label, its failures,
    and what made it. For an unfinished output you see how far it is. --verify
    reads all rows again and checks these figures.

    [bold not dim]Examples[/]

      [cyan]nerx inspect nerx-adapter[/]
      [cyan]nerx inspect corpus.nerx.parquet --json[/]
      [cyan]nerx inspect corpus.nerx.parquet --verify --adapter nerx-adapter[/]
    """
    if adapter is not None and not verify:
        raise InputError("--adapter goes with --verify only: give both")
    if (path / "nerx.json").is_file():
        _show_adapter(path, _adapter_card(path, verify), json)
    elif not path.exists() and _staging(path).is_dir():
        _show_unfinished(path, json)
    else:
        _show_output(path, _verified(path, adapter) if verify else None, json)


def _adapter_card(path: Path, verify: bool) -> "AdapterCard":
    if verify:
        from ..engine.review.verification import check_adapter

        return check_adapter(path)[0]
    from ..engine.tagging.card import AdapterCard

    return AdapterCard.read(path)


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
        ("entities", f"of probability {card.min_score:g} or more"),
        (
            "training",
            f"{duration(card.seconds)} on {card.device}, {_gigabytes(card.peak_bytes)}, {card.flops:.1e} FLOPs",
        ),
        ("made", f"{card.created} by nerx {card.nerx_version}"),
        ("options", _settings(card.options)),
    ]
    console.print_result(str(path), tables.fact_table(facts), tables.label_table(card.labels, card.scores))


def _verified(path: Path, adapter: Path | None) -> "Verification":
    """Read the whole output. Raises OutputError with a line for each problem."""
    from ..engine.review.enriched import Enriched
    from ..engine.review.verification import verify

    done = verify(Enriched(path), adapter)
    if done.count:
        problems = [*done.problems]
        if done.count > len(problems):
            problems.append(f"and {done.count - len(problems):,} more")
        raise OutputError("\n".join(f"{path}: {problem}" for problem in problems))
    return done


def _staging(path: Path) -> Path:
    from ..engine.writing.place import staging_folder

    return staging_folder(path)


def _show_unfinished(path: Path, json: bool) -> None:
    from ..engine.review.enriched import unfinished

    tally, manifest = unfinished(path)
    if json:
        console.print_json({"kind": "unfinished output", "path": str(path), **asdict(tally), "manifest": manifest})
        return
    inputs = list(manifest.get("input", {}).items())
    facts = [
        ("finished", f"{tally.rows:,} of {manifest.get('rows', 0):,} rows; run the same command again to go on"),
        ("failed rows", f"{tally.failures:,}"),
        ("entities", f"{tally.entities:,}"),
        *((name, _shown(name, manifest[name])) for name in _MANIFEST if name in manifest),
        *(("input", f"{file} ({digest[:_DIGEST]})") for file, digest in inputs[:_INPUTS]),
    ]
    if len(inputs) > _INPUTS:
        facts.append(("input", f"and {len(inputs) - _INPUTS:,} more files"))
    console.print_result(f"{path}: not finished", tables.fact_table(facts))


def _shown(name: str, value: object) -> str:
    return str(value)[:_DIGEST] if name in _DIGESTS else str(value)


def _show_output(path: Path, verification: "Verification | None", json: bool) -> None:
    from ..engine.review.enriched import Enriched

    enriched = Enriched(path)
    tally, said = enriched.tally(), enriched.facts[0]
    if json:
        checked = {"verified": verification.to_dict()} if verification else {}
        metadata = {"metadata": said}
        console.print_json({"kind": "output", "path": str(path), **asdict(tally), **metadata, **checked})
        return
    facts = [
        ("rows", f"{tally.rows:,}"),
        ("texts", f"{tally.texts:,}"),
        ("failed rows", f"{tally.failures:,}"),
        ("entities", f"{tally.entities:,}"),
        ("time", duration(tally.seconds)),
        ("files", f"{len(enriched.parts):,}"),
        *((name.replace("_", " "), _shown(name, said[name])) for name in _ORIGIN if name in said),
    ]
    if verification:
        facts.append(("verified", ", ".join(verification.checks)))
    counts = [tables.count_table(tally.entities_per_label)] if tally.entities_per_label else []
    console.print_result(str(path), tables.fact_table(facts), *counts)


def _settings(options: Mapping[str, object]) -> str:
    """The options that were chosen. Nested details are for --json."""
    chosen = {name: value for name, value in options.items() if value is not None and not isinstance(value, dict)}
    return ", ".join(f"{name} {value}" for name, value in chosen.items() if name not in {"out", "overwrite"})


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB at most"
