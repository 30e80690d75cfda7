"""The base as it ships, asked for a task's labels by their names alone: no seeds, no adapter, the same Extractor."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

import nerx

from ..dataset import Task
from .contender import Predict
from .ours import digest_of_base, predict_with

if TYPE_CHECKING:
    from nerx.engine.tagging.extractor import Extractor
    from nerx.engine.tagging.loading import Precision


class ZeroShot:
    """The row `nerx zero-shot`. Both readers count as they do in an adapter that could hold nothing out."""

    seeded = False

    def __init__(
        self, base: str = "embedded", device: str = "auto", name: str = "nerx", precision: "Precision" = "auto"
    ) -> None:
        self._base, self._device, self._precision = base, device, precision
        self.rows = (f"{name} zero-shot",)

    def settings(self, row: str) -> Mapping[str, object]:  # noqa: ARG002 (there is but one)
        from nerx.adapters.fusion import DEFAULT
        from nerx.adapters.hyperparameters import MIN_SCORE
        from nerx.engine.tagging.loading import pick_device

        precision = {} if self._precision == "auto" else {"precision": self._precision}
        return {
            "nerx": nerx.__version__,
            "base": digest_of_base(self._base),
            "device": pick_device(self._device).type,
            "min_score": MIN_SCORE,
            **asdict(DEFAULT),
            **precision,
        }

    def prepare(self) -> None:
        """The base comes as it is."""

    def fit(self, task: Task) -> "Unfitted":
        from nerx.adapters.fusion import DEFAULT
        from nerx.adapters.hyperparameters import MIN_SCORE
        from nerx.engine.bases.find import base_folder
        from nerx.engine.label import LabelSet
        from nerx.engine.tagging.card import AdapterCard
        from nerx.engine.tagging.extractor import Extractor
        from nerx.engine.tagging.loading import load_base, load_drafter

        model = load_base(self._base, device=self._device, precision=self._precision)
        drafter = load_drafter(base_folder(self._base), model.width)
        card = AdapterCard(
            labels=LabelSet.of(*task.labels),
            base=model.name,
            base_digest=model.digest,
            tag_format=model.tags.to_dict(),
            nerx_version=nerx.__version__,
            created="",
            min_score=MIN_SCORE,
            **asdict(DEFAULT),
        )
        return Unfitted(
            Extractor(model, drafter and drafter.to(model.device, next(model.network.parameters()).dtype), card)
        )


class Unfitted:
    """Has learnt nothing: the base with the task's labels."""

    def __init__(self, extractor: "Extractor") -> None:
        self._extractor = extractor

    def predictor(self, row: str) -> Predict:  # noqa: ARG002 (there is but one)
        return predict_with(self._extractor)

    def notes(self) -> Mapping[str, object]:
        return {}
