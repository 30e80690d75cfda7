"""The adapter folder. It is written beside its final name and renamed when it is complete."""

import datetime
import json
import platform
import resource
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..engine.errors import OutputError
from ..engine.naming import require_unicode
from ..engine.span import Seed
from ..engine.tagging.card import AdapterCard, folder_digests
from ..engine.tagging.extractor import Extractor
from ..engine.tagging.loading import dtype_of, load_adapted
from ..engine.version import __version__
from .config import FitConfig
from .reader import SeedFile
from .readme import model_card
from .trainer import Trainer
from .training import Learned

GOLDEN = 8
"""Number of texts whose exact outputs the folder keeps, so that another machine can replay them."""


def check_output(out: Path, *, overwrite: bool) -> None:
    """Raises OutputError when `out` exists, unless `overwrite` is set and `out` is an adapter folder."""
    require_unicode(out, OutputError)
    if not out.exists():
        return
    if not overwrite:
        raise OutputError.exists_already(out, "use --overwrite to replace it, or --out for another place")
    if not (out / "nerx.json").is_file():
        raise OutputError(
            f"{out} is no adapter folder, so --overwrite does not replace it: say --out for another place"
        )


def new_card(
    draft: AdapterCard, trainer: Trainer, seeds: SeedFile, config: FitConfig, learned: Learned, *, seconds: float
) -> AdapterCard:
    """The card of a finished training. `draft` is the card that the extractor already works with."""
    options = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(config).items()}
    scores: dict[str, Any] = {"epochs": learned.epochs, "held_out_texts": learned.held_out}
    if learned.evaluation is not None:
        scores |= learned.evaluation.to_dict()
    return replace(
        draft,
        nerx_version=__version__,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seeds_digest=seeds.digest,
        seeds=len(seeds.seeds),
        options={**options, "recipe": asdict(trainer.hyperparameters)},
        scores=scores,
        curve=[asdict(point) for point in learned.curve],
        seen=sorted({seed.text[span.start : span.end] for seed in seeds.seeds for span in seed.spans}),
        device=f"{trainer.model.device.type} ({platform.machine()})",
        seconds=round(seconds, 2),
        peak_bytes=peak_bytes(),
        flops=trainer.flops,
    )


def write_adapter(out: Path, trainer: Trainer, card: AdapterCard, extractor: Extractor, seeds: Sequence[Seed]) -> None:
    """Write the folder: PEFT's files, the drafter, golden outputs, the card, a README. Raises OutputError.

    Golden outputs are those of production. Where that has other weights than training had, it is loaded for them.
    """
    fresh = out.with_name(f".{out.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
        trainer.save(fresh)
        if trainer.model.dtype != dtype_of("auto", trainer.model.device):
            extractor = Extractor(*load_adapted(card, fresh, device=trainer.model.device.type), card)
        _write_golden(fresh / "golden.jsonl", extractor, seeds[:GOLDEN])
        card = replace(card, files=folder_digests(fresh))
        card.write(fresh)
        (fresh / "README.md").write_text(model_card(card), encoding="utf-8")
        if out.exists():
            shutil.rmtree(out)
        fresh.rename(out)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise OutputError(
            f"cannot write the adapter to {out}: {error.strerror}; free the place or say --out"
        ) from error


def _write_golden(path: Path, extractor: Extractor, seeds: Sequence[Seed]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for seed, extraction in zip(seeds, extractor.extract([seed.text for seed in seeds]), strict=True):
            entities = [asdict(span) for span in extraction.spans or ()]
            file.write(json.dumps({"text": seed.text, "entities": entities}, ensure_ascii=False) + "\n")


def peak_bytes() -> int:
    """The most memory that this process has held so far, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage's figure starts from the parent's peak on Linux
        return next(int(line.split()[1]) << 10 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
