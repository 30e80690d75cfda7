"""nerx's own rows: one fit answers for the fused decoder, the decoder alone and the drafter alone.

A row is called after its base: `nerx` is the embedded base, or the one that is given, `smollm2` the real LLM.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nerx

from ..dataset import Task
from .contender import Predict, Prediction

if TYPE_CHECKING:
    from nerx.adapters.config import Budget, FitConfig
    from nerx.engine.tagging.extractor import Extractor
    from nerx.engine.tagging.loading import Precision

OVERRIDES: dict[str, dict[str, Any]] = {
    "": {},
    " alpha 0": {"alpha": 0.0, "min_score": 0.0},
    " drafter": {"mode": "fast"},
}
"""What is added to the name of a row -> what `Extractor.load` is told besides the adapter, whose least score is for
decisions by both readers."""


FIT = 2
"""Goes up with a change of `fit` that no setting shows. 2: texts of a batch share labels, 15 epochs of rehearsal."""

LATER = {"most_epochs": 30, "upper": 1.0}
"""Hyperparameters that are younger than the first cells, with the values that went without saying then."""


@dataclass(frozen=True, slots=True)
class NerxSettings:
    """Passed on to FitConfig. `contrast` None is fit's own default; `device` is resolved before it enters a key.

    precision: of extraction.
    """

    base: str = "embedded"
    budget: "Budget" = "normal"
    device: str = "auto"
    contrast: float | None = None
    precision: "Precision" = "auto"


class Nerx:
    """The rows `nerx`, `nerx alpha 0` and `nerx drafter`, or with a contrastive weight one row of that name."""

    seeded = True

    def __init__(self, settings: NerxSettings, name: str = "nerx", kinds: Sequence[str] = tuple(OVERRIDES)) -> None:
        """`kinds`: which of OVERRIDES there are rows of."""
        self._settings = settings
        self._overrides = {f"{name}{kind}": dict(OVERRIDES[kind]) for kind in kinds}
        if settings.contrast is not None:
            self._overrides = {f"{name} contrast {settings.contrast:g}": {}}
        if settings.precision != "auto":
            for told in self._overrides.values():
                told["precision"] = settings.precision
        self.rows = tuple(self._overrides)

    def settings(self, row: str) -> Mapping[str, object]:
        """Recipe and fusion are in it, so that a changed rate is another cell; other changes of code are not."""
        from nerx.adapters.fusion import DEFAULT, PRIOR_NATS
        from nerx.engine.tagging.loading import pick_device

        recipe = asdict(self._config(Path()).hyperparameters(self._parameters()))
        return {
            "nerx": nerx.__version__,
            "base": digest_of_base(self._settings.base),
            "device": pick_device(self._settings.device).type,
            "fit": FIT,
            "recipe": {name: value for name, value in recipe.items() if name not in LATER or LATER[name] != value},
            "fusion": {**asdict(DEFAULT), "prior_nats": PRIOR_NATS},
            **self._overrides[row],
        }

    def _parameters(self) -> int:
        from nerx.engine.bases.find import find_base
        from nerx.engine.bases.size import stored_parameters

        return stored_parameters(find_base(self._settings.base))

    def prepare(self) -> None:
        """The base comes as it is."""

    def fit(self, task: Task) -> "FittedNerx":
        from nerx.adapters.fit import fit

        assert task.seeds_path is not None, task.name
        folder = tempfile.TemporaryDirectory(prefix="nerx-few-shot-")
        config = replace(self._config(task.seeds_path), out=Path(folder.name) / "adapter", seed=task.draw)
        result = fit(config)
        held_out = result.evaluation
        notes = {"alpha": result.alpha, "holdout_f1": None if held_out is None else 100 * held_out.micro.f1}
        return FittedNerx(folder, result.adapter, self._settings.device, self._overrides, notes)

    def _config(self, seeds: Path) -> "FitConfig":
        from nerx.adapters.config import FitConfig

        chosen = self._settings
        return FitConfig(
            seeds=seeds, base=chosen.base, device=chosen.device, budget=chosen.budget, contrast=chosen.contrast
        )


def digest_of_base(base: str) -> str:
    """For a cell's key. A base by its name is fetched if it is not there; a hub id is given back as it is.

    It is the digest of earlier versions of nerx, by which the first cells are filed.
    """
    from nerx.engine.bases.digest import earlier_digest
    from nerx.engine.bases.find import find_base

    folder = find_base(base)
    return earlier_digest(folder)[:16] if folder.is_dir() else base


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
        from nerx.engine.tagging.extractor import Extractor

        extractor = Extractor.load(self._adapter, device=self._device, **self._overrides[row])
        return predict_with(extractor)

    def notes(self) -> Mapping[str, object]:
        return self._notes


def predict_with(extractor: "Extractor") -> Predict:
    """Raises RuntimeError when a text fails: a score over the texts that happened to work would flatter."""

    def predict(texts: Sequence[str]) -> Prediction:
        extractions = extractor.extract(texts)
        for text, extraction in zip(texts, extractions, strict=True):
            if extraction.error:
                raise RuntimeError(f"nerx could not read {text[:80]!r}: {extraction.error}")
        return [extraction.spans or () for extraction in extractions]

    return predict
