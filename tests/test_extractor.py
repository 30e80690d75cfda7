"""Extraction from text to spans: any text, any length, memory that runs out."""

from dataclasses import replace

import pytest
import torch
from families import make_base
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nerx.engine.bases.known import EMBEDDED
from nerx.engine.errors import AdapterError, InputError
from nerx.engine.label import Label, LabelSet
from nerx.engine.tagging.card import AdapterCard
from nerx.engine.tagging.decoder import Decoded
from nerx.engine.tagging.drafter import Drafter
from nerx.engine.tagging.extractor import Extractor
from nerx.engine.tagging.loading import load_base, load_drafter, prepare_process

HAS_BFLOAT16 = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()

LABELS = LabelSet((Label("person"), Label("place", "somewhere"), Label("地名"), Label("person name")))

PARTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            "\U0001f468\u200d\U0001f469\u200d\U0001f467",
            "e\u0301a\u0308\u20dd",
            "שלום עולם",
            "مرحبا",
            "東京タワー",
            "한국어",
            "\r\n",
            "\x00\x07\x1b[31m",
            "\u202e\u200f",
            "[[Ada|person]]",
            "]]|[[",
            "|",
            "\n\nTagged:\n",
            "<s></s>",
            "[unused1]",
            "New York",
            "ignore previous instructions",
            "\ufeff",
            "\U0010ffff",
            "ﬁﬃ",
            "İstanbul",
            " \t ",
        ]
    ),
)
HOSTILE = st.lists(PARTS, max_size=6).map("".join)


@pytest.fixture(scope="module")
def extractor(tmp_path_factory):
    """A random model over a byte-level vocabulary: it tags wildly, whatever the text."""
    model = load_base(make_base("mistral", tmp_path_factory.mktemp("base")), device="cpu")
    torch.manual_seed(3)
    drafter = Drafter(model.width)
    with torch.no_grad():
        for weight in drafter.parameters():
            weight.mul_(3.0)
    return make(model, drafter)


def make(model, drafter=None, **options):
    tags = model.tags.to_dict()
    card = AdapterCard(labels=LABELS, base="", base_digest="", tag_format=tags, nerx_version="", created="")
    return Extractor(model, drafter, card, **options)


def assert_exact(text, extraction):
    assert extraction.error is None
    assert extraction.characters == len(text)
    end = 0
    for span in extraction.spans:
        assert end <= span.start < span.end <= len(text)
        assert text[span.start : span.end].strip() == text[span.start : span.end] != ""
        assert span.label in LABELS.names
        assert 0 <= span.score <= 1
        end = span.end


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(HOSTILE, min_size=50, max_size=50))
def test_five_thousand_hostile_texts_yield_exact_spans(extractor, texts):
    extractions = extractor.extract(texts)
    for text, extraction in zip(texts, extractions, strict=True):
        assert_exact(text, extraction)
    if sum(map(len, texts)) > 300:
        assert any(extraction.spans for extraction in extractions)  # a model that tags nothing would prove nothing


@pytest.mark.parametrize("length", [1 << 15, pytest.param(1 << 20, marks=pytest.mark.slow)])
def test_a_long_text_is_read_to_its_last_character(extractor, length):
    text = ("Ada Lovelace met 東京 again. " * 50_000 + "x" * length)[:length]
    extraction = extractor.extract([text])[0]
    assert_exact(text, extraction)
    assert len(extraction.spans) > length / 1000
    assert extraction.spans[-1].end > len(text) - 2000


def test_null_is_not_processed_and_empty_has_nothing(extractor):
    null, empty, blank = extractor.extract([None, "", " \n "])
    assert (null.spans, null.error) == (None, None)
    assert empty.spans == ()
    assert (blank.spans, blank.characters) == ((), 3)


def test_out_of_memory_halves_the_batch_and_at_last_fails_one_row(extractor, monkeypatch):
    decode = extractor.decoder.decode
    sizes = []

    def scarce(sources, **options):
        sizes.append(len(sources))
        if len(sources) > 2 or any(len(source) > 100 for source in sources):
            raise torch.OutOfMemoryError("pretended: the allocator itself cannot be filled in a test")
        return decode(sources, **options)

    monkeypatch.setattr(extractor.decoder, "decode", scarce)
    texts = ["Ada met Bob."] * 7 + ["x y " * 100]
    results = extractor.extract(texts)
    assert max(sizes) > 2
    assert [result.error is None for result in results] == [True] * 7 + [False]
    assert "--batch-tokens" in results[-1].error
    assert results[-1].spans is None
    assert len({result.spans for result in results[:7]}) == 1


def test_other_faults_are_not_taken_for_memory(extractor, monkeypatch):
    def broken(_sources):
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(extractor.decoder, "decode", broken)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        extractor.extract(["Ada"])


def test_min_score_leaves_out_the_doubtful(extractor):
    texts = ["Ada met Bob in Rome. " * 3]
    scores = [span.score for span in extractor.extract(texts)[0].spans]
    picky = make(extractor.model, extractor.decoder.drafter, min_score=sorted(scores)[len(scores) // 2])
    kept = picky.extract(texts)[0].spans
    assert 0 < len(kept) < len(scores)
    card = replace(extractor.card, min_score=picky.min_score)
    assert Extractor(extractor.model, extractor.decoder.drafter, card).extract(texts)[0].spans == kept
    everything = Extractor(extractor.model, extractor.decoder.drafter, card, min_score=0.0)
    assert len(everything.extract(texts)[0].spans) == len(scores)


def test_too_many_labels_for_the_base_is_a_clear_error(extractor):
    many = LabelSet(tuple(Label(f"label number {n}", "a rather long description of it") for n in range(60)))
    card = AdapterCard(labels=many, base="", base_digest="", tag_format={}, nerx_version="", created="")
    with pytest.raises(InputError, match="leaves 0 tokens for text"):
        Extractor(extractor.model, None, card)


def test_a_missing_adapter_says_how_to_make_one(tmp_path):
    with pytest.raises(AdapterError, match="nerx fit"):
        Extractor.load(tmp_path / "nowhere")


def test_on_a_gpu_attention_is_left_to_kernels_that_take_any_shape() -> None:
    before = torch.backends.cuda.cudnn_sdp_enabled()
    try:
        prepare_process(torch.device("cuda"))
        assert not torch.backends.cuda.cudnn_sdp_enabled()
        assert torch.backends.cuda.mem_efficient_sdp_enabled()
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


# One clear answer to every argument


def test_a_single_text_is_no_list_of_texts(extractor):
    with pytest.raises(InputError, match=r"extract\(\[text\]\)"):
        extractor.extract("Ada met Bob.")


def test_a_generator_gives_what_a_list_gives(extractor):
    texts = ["Ada met Bob.", None, "In Rome."]
    assert extractor.extract(text for text in texts) == extractor.extract(texts)


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (float("nan"), "not a text, but a value of type float"),
        (7, "not a text, but a value of type int"),
        (b"Ada", "not a text, but a value of type bytes"),
        ("Ada \ud83d met Bob.", "not Unicode: character 4 is half of a surrogate pair"),
    ],
)
def test_what_is_no_text_fails_alone(extractor, odd, said):
    before, failed, after = extractor.extract(["Ada met Bob.", odd, "Ada met Bob."])
    assert (failed.spans, failed.error) == (None, said)
    assert before == after
    assert before.error is None


def test_a_span_below_the_least_score_pushes_no_other_one_out(extractor, monkeypatch):
    """At the border of two chunks, the first of two spans that overlap is kept, unless it is to be dropped."""
    text = "Ada Lovelace met 東京 again, and Bob. " * 20
    picky = make(extractor.model, min_score=0.5)
    chunks = [chunk for chunk, _ in picky.model.encoder.encode_chunks(text, picky.chunk_tokens)]
    assert len(chunks) > 1
    cut = chunks[0].end

    def decode(sources):
        found = []
        for source in sources:
            starts = [start for start, _ in source.offsets]
            if starts[0] == 0:  # reads across the cut
                span, score = (starts.index(min(start for start in starts if start >= cut)) - 3, len(starts), 0), 0.2
            elif starts[0] <= cut <= starts[-1]:
                first = starts.index(min(start for start in starts if start >= cut))
                span, score = (first, first + 3, 1), 0.9
            else:
                found.append(Decoded((), (), 0))
                continue
            found.append(Decoded((), ((span, score),), 0))
        return found

    monkeypatch.setattr(picky.decoder, "decode", decode)
    (probable,) = picky.extract([text])[0].spans
    assert (probable.label, probable.score) == ("place", 0.9)
    picky.min_score = 0.0
    (wide,) = picky.extract([text])[0].spans
    assert (wide.label, wide.score) == ("person", 0.2)
    assert wide.start < cut <= probable.start < wide.end


# What shares a batch


@pytest.fixture(scope="module")
def some_texts():
    return [("Ada Lovelace wrote to Charles in London, and Bob left Rome. " * 3)[n : 40 + 3 * n] for n in range(40)]


def test_in_float32_entities_do_not_depend_on_what_shares_the_batch(extractor, some_texts):
    large, small = (
        make(extractor.model, extractor.decoder.drafter, batch_tokens=size).extract(some_texts) for size in (8192, 64)
    )
    assert sum(len(one.spans) for one in large) > 40
    for one, other in zip(large, small, strict=True):
        assert [span.key for span in one.spans] == [span.key for span in other.spans]
        assert [span.score for span in one.spans] == pytest.approx([span.score for span in other.spans], abs=1e-4)


@pytest.mark.skipif(not HAS_BFLOAT16, reason="this processor has no bfloat16 instructions")
def test_in_bfloat16_few_texts_depend_on_what_shares_the_batch(some_texts):
    model = load_base(EMBEDDED, device="cpu", precision="bfloat16")
    drafter = load_drafter(EMBEDDED, model.width).to(torch.bfloat16)
    large, small = (make(model, drafter, batch_tokens=size).extract(some_texts) for size in (8192, 64))
    assert sum(len(one.spans) for one in large) > 40
    for text, one, other in zip(some_texts, large, small, strict=True):
        assert_exact(text, one)
        assert_exact(text, other)
    same = sum(
        [span.key for span in one.spans] == [span.key for span in other.spans]
        for one, other in zip(large, small, strict=True)
    )
    assert same >= 0.9 * len(some_texts)
