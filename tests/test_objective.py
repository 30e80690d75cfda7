"""The training objective: what it reads from a batch counts in it."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from families import make_base

from nerx.adapters.batch import Batch, Stretches, collate
from nerx.adapters.dataset import encode
from nerx.adapters.hyperparameters import LossWeights
from nerx.adapters.objective import Losses, Projection, losses
from nerx.engine.label import Label, LabelSet
from nerx.engine.span import Span
from nerx.engine.tagging.drafter import WINDOW, Drafter
from nerx.engine.tagging.loading import load_base
from nerx.engine.tagging.model import LanguageModel

LABELS = LabelSet((Label("person"), Label("place")))
TEXTS = (
    ("Ada Lovelace wrote from London.", (Span(0, 12, "person"), Span(24, 30, "place"))),
    ("Alan saw Rome and Emmy.", (Span(0, 4, "person"), Span(9, 13, "place"), Span(18, 22, "person"))),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load_base(make_base("llama", Path(tmp_path_factory.mktemp("base"))), device="cpu")


@pytest.fixture(scope="module")
def batch(model: LanguageModel) -> Batch:
    ids = {name: at for at, name in enumerate(LABELS.names)}
    encoder = model.encoder
    examples = [encode(encoder, encoder.encode_source(text), spans, LABELS, ids) for text, spans in TEXTS]
    return collate(encoder, examples, random.Random(0))


def loss_of(model: LanguageModel, batch: Batch, weights: LossWeights) -> Losses:
    torch.manual_seed(0)
    drafter, projection = Drafter(model.width), Projection(model.width, WINDOW)
    with torch.no_grad():
        return losses(model, drafter, projection, batch, weights)


def test_wrong_spans_are_negatives_of_the_contrastive_loss(model: LanguageModel, batch: Batch) -> None:
    stretches = batch.stretches
    assert (stretches.label < 0).any()
    names = ("row", "first", "last", "label")
    mentions = Stretches(**{name: getattr(stretches, name)[stretches.label >= 0] for name in names})
    weights = LossWeights()
    with_negatives = loss_of(model, batch, weights).contrast
    assert with_negatives > loss_of(model, replace(batch, stretches=mentions), weights).contrast + 0.1


@pytest.mark.parametrize("name", ["draft", "contrast"])
def test_the_total_is_the_weighted_sum(model: LanguageModel, batch: Batch, name: str) -> None:
    found = loss_of(model, batch, LossWeights(draft=0.5, contrast=0.25))
    torch.testing.assert_close(found.total, found.legal + 0.5 * found.draft + 0.25 * found.contrast)
    without = loss_of(model, batch, replace(LossWeights(draft=0.5, contrast=0.25), **{name: 0.0}))
    assert getattr(without, name) == 0
    assert without.total < found.total
