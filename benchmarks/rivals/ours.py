"""nerx's own rows: one fit answers for the fused decoder, the decoder alone and the drafter alone."""

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lab.dataset import Task
from lab.machine import package_version

from .contender import Predict, Prediction

OVERRIDES: dict[str, dict[str, Any]] = {
    "nerx": {},
    "nerx alpha 0": {"alpha": 0.0},
    "nerx drafter": {"mode": "draft"},
}
"""Row -> what `Extractor.load` is told besides the adapter."""


@dataclass(frozen=True, slots=True)
class NerxSettings:
    """Passed on to FitConfig. `contrast` None is fit's own default; `device` is resolved before it enters a key."""

    base: str = "embedded"
    budget: str = "normal"
    device: str = "auto"
    contrast: float | None = None


class Nerx:
    """The rows `nerx`, `nerx alpha 0` and `nerx drafter`; or, with a contrastive weight given, one row of that name."""

    def __init__(self, settings: NerxSettings) -> None:
        self._settings = settings
        self._overrides = OVERRIDES
        if settings.contrast is not None:
            self._overrides = {f"nerx contrast {settings.contrast:g}": {}}
        self.rows = tuple(self._overrides)

    def settings(self, row: str) -> Mapping[str, object]:
        from nerx.engine.model import pick_device

        chosen = self._settings
        return {
            "nerx": package_version("nerx"),
            "base": base_digest(chosen.base),
            "budget": chosen.budget,
            "device": pick_device(chosen.device).type,
            "contrast": chosen.contrast,
            **self._overrides[row],
        }

    def fit(self, task: Task) -> "FittedNerx":
        from nerx.adapters.fit import FitConfig, fit

        folder = tempfile.TemporaryDirectory(prefix="nerx-few-shot-")
        result = fit(
            FitConfig(
                seeds=task.seeds_path,
                out=Path(folder.name) / "adapter",
                base=self._settings.base,
                seed=task.draw,
                device=self._settings.device,
                budget=self._settings.budget,
                contrast=self._settings.contrast,
            )
        )
        notes = {"alpha": result.alpha, "holdout_f1": 100 * result.evaluation.micro.f1}
        return FittedNerx(folder, result.adapter, self._settings.device, self._overrides, notes)


class FittedNerx:
    """Holds on to `folder`, the temporary one that `adapter` lies in."""

    def __init__(
        self,
        folder: tempfile.TemporaryDirectory[str],
        adapter: Path,
        device: str,
        overrides: Mapping[str, dict[str, Any]],
        notes: Mapping[str, object],
    ) -> None:
        self._folder, self._adapter, self._device = folder, adapter, device
        self._overrides, self._notes = overrides, notes

    def predictor(self, row: str) -> Predict:
        from nerx.engine.extractor import Extractor

        extractor = Extractor.load(self._adapter, device=self._device, **self._overrides[row])

        def predict(texts: Sequence[str]) -> Prediction:
            extractions = extractor.extract(texts)
            for text, extraction in zip(texts, extractions, strict=True):
                if extraction.error:  # a score over the texts that happened to work would flatter
                    raise RuntimeError(f"nerx could not read {text[:80]!r}: {extraction.error}")
            return [extraction.spans or () for extraction in extractions]

        return predict

    def notes(self) -> Mapping[str, object]:
        return self._notes


@cache
def base_digest(base: str) -> str:
    """16 hex digits over the files of a base's folder; a hub id stands for itself."""
    from nerx.engine.model import EMBEDDED

    folder = EMBEDDED if base == "embedded" else Path(base)
    if not folder.is_dir():
        return base
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in {".json", ".safetensors", ".txt"}:
            digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
