"""Drafted decoding against step-by-step decoding, and both against plain transformers without any cache of ours."""

import math
import random

import pytest
import torch
from families import FAMILIES, SENTENCES, make_base

from nerx.adapters.batch import collate
from nerx.adapters.dataset import encode
from nerx.adapters.fusion import judge
from nerx.engine.bases.known import EMBEDDED
from nerx.engine.label import Label, LabelSet
from nerx.engine.span import Span
from nerx.engine.tagging.decoder import Decoder
from nerx.engine.tagging.drafter import Drafter
from nerx.engine.tagging.guide import Guide, Phase
from nerx.engine.tagging.loading import load_base, load_drafter

LABELS = LabelSet((Label("person", "a human being"), Label("place"), Label("place name"), Label("company", "a firm")))
TEXTS = [" ".join(SENTENCES[i % 5 :][: 1 + i % 3])[: 20 + 15 * i].strip() for i in range(16)]
BASES = (*FAMILIES, "embedded")


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    loaded = {}

    def load(name):
        if name not in loaded:
            folder = EMBEDDED if name == "embedded" else make_base(name, tmp_path_factory.mktemp(name))
            model = load_base(folder, device="cpu")
            drafter = load_drafter(folder, model.width) or random_drafter(model.width)
            head = model.encoder.encode_head(LABELS)
            loaded[name] = model, drafter, head, [model.encoder.encode_source(text) for text in TEXTS]
        return loaded[name]

    return load


def random_drafter(width):
    torch.manual_seed(1)
    drafter = Drafter(width)
    with torch.no_grad():
        for weight in drafter.parameters():
            weight.mul_(3.0)
    return drafter.eval()


class AlwaysWrong(torch.nn.Module):
    """Drafts the opposite of what it believes, at full confidence."""

    def __init__(self, drafter):
        super().__init__()
        self.drafter = drafter

    def forward(self, *args):
        return (-self.drafter(*args).clamp(min=-30.0)).log_softmax(dim=2)


def assert_same(fast, slow):
    assert [one.ids for one in fast] == [one.ids for one in slow]
    for mine, reference in zip(fast, slow, strict=True):
        assert [span for span, _ in mine.spans] == [span for span, _ in reference.spans]
        for (_, score), (_, expected) in zip(mine.spans, reference.spans, strict=True):
            assert math.isclose(score, expected, abs_tol=1e-4)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("base", BASES)
def test_drafted_decoding_equals_step_by_step_decoding(bases, base, alpha):
    model, drafter, head, sources = bases(base)
    decoder = Decoder(model, head, drafter, alpha=alpha)
    fast, slow = decoder.decode(sources), decoder.decode(sources, drafts=False)
    assert_same(fast, slow)
    assert sum(one.rounds for one in fast) < sum(one.rounds for one in slow) / 2


@pytest.mark.parametrize("draft_tokens", [5, 10_000])
@pytest.mark.parametrize("base", BASES)
def test_how_much_is_drafted_at_once_changes_rounds_and_nothing_else(bases, base, draft_tokens):
    model, drafter, head, sources = bases(base)
    usual, other = Decoder(model, head, drafter), Decoder(model, head, drafter)
    other.draft_tokens = draft_tokens
    few, many = usual.decode(sources), other.decode(sources)
    assert_same(many, few)
    assert (sum(one.rounds for one in many) > sum(one.rounds for one in few)) == (draft_tokens == 5)


@pytest.mark.parametrize("base", BASES)
def test_decoding_without_any_drafter_equals_step_by_step_decoding(bases, base):
    model, _, head, sources = bases(base)
    decoder = Decoder(model, head)
    assert_same(decoder.decode(sources), decoder.decode(sources, drafts=False))


@pytest.mark.parametrize("base", BASES)
def test_a_drafter_that_is_always_wrong_costs_rounds_and_changes_nothing(bases, base):
    model, drafter, head, sources = bases(base)
    wrong = Decoder(model, head, AlwaysWrong(drafter), alpha=0.0)
    assert_same(wrong.decode(sources), Decoder(model, head, drafter, alpha=0.0).decode(sources, drafts=False))


@pytest.mark.parametrize("base", BASES)
def test_a_text_s_result_does_not_depend_on_its_batch(bases, base):
    model, drafter, head, sources = bases(base)
    decoder = Decoder(model, head, drafter)
    assert_same(decoder.decode(sources), [decoder.decode([source])[0] for source in sources])


@pytest.mark.parametrize("base", FAMILIES)
def test_step_by_step_decoding_equals_plain_transformers(bases, base):
    """The whole sequence anew for every token, with the library's own masks and positions."""
    model, _, head, sources = bases(base)
    decoded = Decoder(model, head).decode(sources[:4], drafts=False)
    for source, ours in zip(sources[:4], decoded, strict=True):
        ids, scores = plain_decode(model, head, source)
        assert ours.ids == tuple(ids)
        assert [score for _, score in ours.spans] == pytest.approx(scores, abs=1e-4)


@torch.inference_mode()
def plain_decode(model, head, source):
    guide = Guide(source.ids, source.borders, head.trie, model.tags)
    prompt = [*head.ids, *source.ids, *model.tags.output_mark]
    answer, scores, log_score = [], [], 0.0
    while not guide.is_finished:
        allowed, before = guide.allowed(), guide.state.phase
        logits = model.network(input_ids=torch.tensor([prompt + answer]), use_cache=False).logits[0, -1, list(allowed)]
        best, index = logits.log_softmax(dim=0).max(dim=0)
        answer.append(allowed[int(index)])
        guide.advance(answer[-1])
        after = guide.state.phase
        if before is not after or before is Phase.LABEL:
            log_score += float(best)
        if before is Phase.LABEL and after is Phase.OUTSIDE:
            scores.append(math.exp(log_score))
            log_score = 0.0
    return answer, scores


@pytest.mark.parametrize("base", BASES)
def test_training_and_decoding_see_every_decision_alike(bases, base):
    """Prompt and answer read at once, in training's own batch, decide as decoding did and come to its scores."""
    model, drafter, head, sources = bases(base)
    decoded = Decoder(model, head, drafter).decode(sources)
    pairs = [(as_example(model, source, one), one) for source, one in zip(sources, decoded, strict=True)]
    pairs = [(example, one) for example, one in pairs if example.tagged.ids == one.ids]  # spans of white space are lost
    assert sum(len(one.spans) for _, one in pairs) >= (5 if base != "embedded" else 1)
    examples = [example for example, _ in pairs]
    judged = iter(judge(model, drafter, collate(model.encoder, examples, random.Random(0)), examples))
    for example, one in pairs:
        shares: dict[int, float] = {}
        for decision in example.tagged.decisions:
            seen = next(judged)
            fused = (seen.logits + seen.bias).softmax(dim=0)
            assert fused.argmax() == seen.right
            shares[decision.at] = float(fused[seen.right])
        guide = Guide(example.source.ids, example.source.borders, head.trie, model.tags)
        for token in example.tagged.ids:
            guide.advance(token)
        scores = [math.prod(shares.get(step, 1.0) for step in mention.steps) for mention in guide.mentions()]
        assert scores == pytest.approx([score for _, score in one.spans], abs=1e-4)


@pytest.mark.parametrize("base", BASES)
def test_rows_that_share_a_prompt_head_are_read_as_if_each_had_its_own(bases, base):
    model, drafter, _, sources = bases(base)
    few = LabelSet((Label("firm"), Label("place name", "where something is")))
    pairs = [(source, LABELS if k % 3 else few) for k, source in enumerate(sources)]
    examples = [encode(model.encoder, source, (), labels, dict.fromkeys(labels.names, 0)) for source, labels in pairs]
    together = collate(model.encoder, examples, random.Random(0))
    assert len(together.heads.ids) == 2
    alone = [one for e in examples for one in judge(model, drafter, collate(model.encoder, [e], random.Random(0)), [e])]
    for one, other in zip(judge(model, drafter, together, examples), alone, strict=True):
        assert one.right == other.right
        assert torch.allclose(one.logits, other.logits, rtol=1e-4, atol=1e-4)
        # Of the probabilities: near 0 and 1 their log-odds differ by a hundredth for a last bit of float32, and a bias
        # is a difference of such log-odds.
        assert torch.allclose(one.bias.sigmoid(), other.bias.sigmoid(), rtol=0, atol=1e-3)


def as_example(model, source, decoded):
    spans = [Span(*source.characters(one.start, one.end), LABELS.names[one.label]) for one, _ in decoded.spans]
    return encode(model.encoder, source, spans, LABELS, {name: k for k, name in enumerate(LABELS.names)})


def test_the_drafter_alone_takes_no_rounds(bases):
    model, drafter, head, sources = bases("embedded")
    drafted = Decoder(model, head, drafter).draft(sources)
    assert all(one.rounds == 0 for one in drafted)
    assert all(0 <= score <= 1 for one in drafted for _, score in one.spans)


def test_the_temperature_softens_scores_and_changes_no_decision(bases):
    model, drafter, head, sources = bases("llama")
    sharp, soft, flat = (
        Decoder(model, head, drafter, temperature=temperature).decode(sources) for temperature in (1.0, 4.0, 1e6)
    )
    assert [one.ids for one in sharp] == [one.ids for one in soft] == [one.ids for one in flat]
    scores = [[score for one in found for _, score in one.spans] for found in (sharp, soft, flat)]
    assert len(scores[0]) > 10
    assert all(low < high for low, high in zip(scores[1], scores[0], strict=True))
    # A span opens, and its label has one of three first words.
    assert all(score <= 1 / 2 / 3 + 1e-4 for score in scores[2])
