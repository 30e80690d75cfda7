import json

import pytest
import torch

from benchmarks.speed import page, stopwatch
from benchmarks.speed.stopwatch import Timing, measure, scaled
from benchmarks.speed.ways.contender import Exact, Limit, StepByStep
from benchmarks.speed.ways.library import Generate, PromptLookup
from benchmarks.speed.ways.lineup import decide, random_drafter, replays
from benchmarks.speed.ways.llama import make_llama
from benchmarks.speed.ways.manylabels import labelled
from benchmarks.speed.work import Batch, shares
from nerx.engine.bases.known import EMBEDDED
from nerx.engine.label import LabelSet
from nerx.engine.tagging.decoder import Decoder
from nerx.engine.tagging.loading import load_base, load_drafter

LABELS = LabelSet.of("person", "place", "company")
TEXTS = (
    "Ada Lovelace wrote to Charles Babbage about the engine in London.",
    "Maersk ships from Rotterdam and from Gdynia every week, says Anna Berg.",
    "Nothing is named here.",
    "The crane at Rotterdam lifted forty containers before noon, and Ada went home.",
)


@pytest.fixture(scope="module")
def base() -> Decoder:
    model = load_base(device="cpu")
    return Decoder(model, model.encoder.encode_head(LABELS), load_drafter(EMBEDDED, model.width))


@pytest.fixture(scope="module")
def batch(base: Decoder) -> Batch:
    sources = tuple(base.model.encoder.encode_source(text) for text in TEXTS)
    return Batch(0, LABELS.names, sources, ((),) * len(sources))


def test_the_parts_are_as_equal_as_the_sets_are_large():
    assert shares(1000, [1280, 532, 296]) == [352, 352, 296]
    assert shares(10, [100, 100]) == [5, 5]
    assert shares(100, [3, 4]) == [3, 4]


def test_a_replay_on_random_weights_writes_what_the_base_wrote_in_as_many_rounds(base: Decoder, batch: Batch):
    real = base.decode(batch.sources)
    decided = decide([base], [batch], base.draft_tokens)
    assert decided.batches[0].answers == tuple(one.ids for one in real)
    assert any(one.spans for one in real)
    llama = make_llama("tiny", base.model.tokenizer, torch.device("cpu"), torch.float32)
    drafted = replays(llama, [base], random_drafter(llama), decided.drafted)[0].decode(batch.sources)
    stepped = replays(llama, [base], None, decided.known)[0].decode(batch.sources, drafts=False)
    assert [(one.ids, one.rounds) for one in drafted] == [(one.ids, one.rounds) for one in real]
    assert [one.ids for one in stepped] == [one.ids for one in real]


@pytest.mark.parametrize("contender", [Generate, PromptLookup])
def test_the_library_writes_the_answers_it_is_forced_to(base: Decoder, batch: Batch, contender: type[Generate]):
    answered = decide([base], [batch], base.draft_tokens).batches[0]
    written = contender([base]).write(answered)
    for ids, answer in zip(written, answered.answers, strict=True):
        assert tuple(ids[: len(answer)]) == answer


def test_every_number_of_labels_gets_the_base_s_mentions(base: Decoder, batch: Batch):
    spans = [[(span.start, span.end) for span, _ in one.spans] for one in base.decode(batch.sources)]
    for count in (2, 40):
        many = labelled(base, batch.sources, count)
        found = many.decoder.decode(batch.sources)
        assert [[(span.start, span.end) for span, _ in one.spans] for one in found] == spans
        assert all(span.label < count for one in found for span, _ in one.spans)


def test_a_contender_that_does_every_other_batch_is_scaled_by_the_limit(base: Decoder, batch: Batch):
    best = {0: (1.0, 2.0)}
    limit = {0: (1.0, 1.0), 1: (3.0, 1.0)}
    assert scaled(best, limit, [batch, batch]) == Timing(4.0, 4.0, len(TEXTS))
    times = measure(
        [Limit([base]), Exact("nerx_exact", "", [base]), StepByStep("step_by_step", "", [base], every=2)],
        decide([base], [batch, batch], base.draft_tokens).batches,
        repeats=1,
    )
    assert times["step_by_step"].measured == len(TEXTS)
    assert times["step_by_step"].cpu > times["nerx_exact"].cpu > 0


def test_a_run_keeps_what_other_devices_have_put_into_the_file(tmp_path):
    path = tmp_path / "decoding.json"
    path.write_text(json.dumps({"benchmark": "decoding", "gpu_7b": {"limit_s": 1.0}, "machine": {"cpu": "old"}}))
    merged = page.merged(path, "cpu", {"limit_s": 2.0})
    assert merged == {"benchmark": "decoding", "gpu_7b": {"limit_s": 1.0}, "cpu": {"limit_s": 2.0}}


def test_the_matrix_rate_is_that_of_a_product():
    assert stopwatch.matrix_rate(torch.device("cpu"), torch.float32) > 1e9
