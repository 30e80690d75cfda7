"""`fit` from seeds to an adapter folder, and that folder in use: on the embedded base and five other families."""

import json
import shutil
from dataclasses import asdict, replace

import pytest
import torch
from families import FAMILIES, make_base

from nerx.adapters.config import FitConfig
from nerx.adapters.fit import fit
from nerx.engine.errors import AdapterError, InputError, OutputError
from nerx.engine.tagging.card import AdapterCard
from nerx.engine.tagging.extractor import Extractor

NAMES = ("Ada Lovelace", "Alan Turing", "Grace Hopper", "Edsger Dijkstra", "Barbara Liskov", "Donald Knuth")
PLACES = ("London", "Bletchley", "Arlington", "Austin", "Boston", "Stanford")


def seed_lines():
    rows = [{"label": "person", "description": "a named human being"}, {"label": "place", "description": "a town"}]
    for n in range(12):
        name, place = NAMES[n % 6], PLACES[(n * 5) % 6]
        text = (f"{name} worked in {place}.", f"In {place} we met {name} again.")[n // 6]
        spans = sorted(
            (text.index(part), text.index(part) + len(part), label)
            for part, label in ((name, "person"), (place, "place"))
        )
        rows.append({"text": text, "entities": [{"start": a, "end": b, "label": c} for a, b, c in spans]})
    return [*rows, {"text": "Nothing happened on that day.", "entities": []}]


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    path = tmp_path_factory.mktemp("seeds") / "seeds.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in seed_lines()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def adapter(seeds, tmp_path_factory):
    """An adapter of the embedded base, fitted once for this file."""
    events = []
    out = tmp_path_factory.mktemp("out") / "adapter"
    return fit(FitConfig(seeds=seeds, out=out, device="cpu", budget="quick"), events.append), events


def test_fit_learns_its_seeds(adapter):
    result, _ = adapter
    extractor = Extractor.load(result.adapter, device="cpu")
    text = "In Boston we met Alan Turing again."
    found = {text[s.start : s.end]: s.label for s in extractor.extract([text])[0].spans}
    assert found == {"Boston": "place", "Alan Turing": "person"}


def test_fit_tells_how_far_it_is(adapter):
    result, events = adapter
    stages = [event.stage for event in events]
    assert list(dict.fromkeys(stages)) == ["read", "load", "rehearse", "train", "save"]
    trained = [event for event in events if event.stage == "train"]
    assert [event.step for event in trained] == list(range(1, trained[-1].steps + 1))
    assert result.evaluation is not None
    assert result.curve[-1].dev_f1 <= 1


def test_the_folder_holds_what_the_design_says(adapter):
    result, _ = adapter
    names = {path.name for path in result.adapter.iterdir()}
    assert names == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "drafter.safetensors",
        "golden.jsonl",
        "nerx.json",
        "README.md",
    }
    card = AdapterCard.read(result.adapter)
    assert card.labels.names == ("person", "place")
    assert card.seconds > 0
    assert card.flops > 0
    assert card.peak_bytes > 1 << 20
    assert "F1" in (result.adapter / "README.md").read_text()


def test_golden_outputs_replay(adapter):
    result, _ = adapter
    golden = [json.loads(line) for line in (result.adapter / "golden.jsonl").read_text().splitlines()]
    extractor = Extractor.load(result.adapter, device="cpu")
    for row, extraction in zip(golden, extractor.extract([row["text"] for row in golden]), strict=True):
        for expected, span in zip(row["entities"], extraction.spans, strict=True):
            assert {**asdict(span), "score": pytest.approx(expected["score"], abs=1e-3)} == expected


def test_a_large_base_learns_in_its_upper_half_and_its_golden_outputs_are_those_of_production(
    seeds, tmp_path, monkeypatch
):
    """`large` is taken to begin at one parameter, so that a base of this test's size counts as one."""
    for module in ("config", "fit"):
        monkeypatch.setattr(f"nerx.adapters.{module}.LARGE", 1)
    base = make_base("llama", tmp_path / "base")
    config = FitConfig(
        seeds=seeds, out=tmp_path / "adapter", base=str(base), device="cpu", epochs=6, learning_rate=1e-2, min_score=0.0
    )
    made = fit(config).adapter
    card = AdapterCard.read(made)
    assert card.options["recipe"]["upper"] == 0.5
    layers = json.loads((base / "config.json").read_text())["num_hidden_layers"]
    named = json.loads((made / "adapter_config.json").read_text())["target_modules"]
    assert named
    assert all(int(name.split(".")[2]) >= layers // 2 for name in named)
    with torch.inference_mode():
        extractor = Extractor.load(made, device="cpu")
        golden = [json.loads(line) for line in (made / "golden.jsonl").read_text().splitlines()]
        assert any(row["entities"] for row in golden)
        for row in golden:
            found = [asdict(span) for span in extractor.extract([row["text"]])[0].spans]
            assert [{**one, "score": pytest.approx(one["score"], abs=1e-5)} for one in found] == row["entities"]


def test_plain_peft_loads_the_adapter_and_the_vocabulary_is_untouched(adapter):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from nerx.engine.bases.known import EMBEDDED

    result, _ = adapter
    base = AutoModelForCausalLM.from_pretrained(EMBEDDED, dtype=torch.float32)
    before = base.get_input_embeddings().weight.detach().clone()
    adapted = PeftModel.from_pretrained(base, result.adapter)
    assert torch.equal(adapted.get_input_embeddings().weight, before)
    assert any("lora" in name for name, _ in adapted.named_parameters())


def test_the_same_seed_gives_the_same_adapter(seeds, tmp_path):
    base = make_base("llama", tmp_path / "base")
    made = [
        fit(FitConfig(seeds=seeds, out=tmp_path / name, base=str(base), device="cpu", epochs=2, seed=seed)).adapter
        for name, seed in (("one", 7), ("two", 7), ("other", 8))
    ]
    one, two, other = (AdapterCard.read(folder).files for folder in made)
    assert one == two
    assert one["adapter_model.safetensors"] != other["adapter_model.safetensors"]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_goes_from_seeds_to_spans(seeds, tmp_path, family):
    base = make_base(family, tmp_path / "base")
    result = fit(FitConfig(seeds=seeds, out=tmp_path / "adapter", base=str(base), device="cpu", epochs=3))
    extractor = Extractor.load(result.adapter, device="cpu")
    texts = [row["text"] for row in seed_lines() if "text" in row]
    for text, extraction in zip(texts, extractor.extract(texts), strict=True):
        assert extraction.error is None
        assert extraction.characters == len(text)


def test_a_base_that_was_never_primed_is_named_and_its_new_drafter_has_no_say(tmp_path):
    base = make_base("llama", tmp_path / "base")
    few = tmp_path / "few.jsonl"
    few.write_text("".join(json.dumps(row) + "\n" for row in seed_lines()[:8]), encoding="utf-8")
    events = []
    config = FitConfig(seeds=few, out=tmp_path / "adapter", base=str(base), device="cpu", epochs=1)
    result = fit(config, events.append)
    said = [event.note for event in events if event.stage == "unprimed"]
    assert len(said) == 1
    assert str(base) in said[0]
    assert "has not been primed" in said[0]
    assert result.alpha == 0.0


def test_of_a_primed_base_nothing_is_said(adapter):
    _, events = adapter
    assert "unprimed" not in {event.stage for event in events}


def test_a_dev_file_replaces_the_holdout(seeds, tmp_path):
    base = make_base("gpt2", tmp_path / "base")
    config = FitConfig(seeds=seeds, out=tmp_path / "adapter", base=str(base), device="cpu", epochs=2, dev=seeds)
    result = fit(config)
    assert result.evaluation.texts == 13


def test_an_adapter_for_another_base_is_refused(seeds, tmp_path):
    base = make_base("llama", tmp_path / "base")
    result = fit(FitConfig(seeds=seeds, out=tmp_path / "adapter", base=str(base), device="cpu", epochs=1))
    other = make_base("llama", tmp_path / "other", seed=5)
    with pytest.raises(AdapterError, match="made for another base"):
        Extractor.load(result.adapter, base=str(other), device="cpu")


def test_a_damaged_adapter_is_refused(seeds, tmp_path):
    base = make_base("llama", tmp_path / "base")
    adapter = fit(FitConfig(seeds=seeds, out=tmp_path / "adapter", base=str(base), device="cpu", epochs=1)).adapter
    weights = adapter / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(AdapterError, match=r"adapter_model\.safetensors is damaged"):
        Extractor.load(adapter, device="cpu")
    weights.unlink()
    with pytest.raises(AdapterError, match=r"lacks adapter_model\.safetensors"):
        Extractor.load(adapter, device="cpu")


def test_a_changed_card_is_refused(seeds, tmp_path):
    base = make_base("llama", tmp_path / "base")
    adapter = fit(FitConfig(seeds=seeds, out=tmp_path / "adapter", base=str(base), device="cpu", epochs=1)).adapter
    card = adapter / "nerx.json"
    card.write_text(card.read_text().replace('"alpha": ', '"alpha": 9'))
    with pytest.raises(AdapterError, match="was changed"):
        Extractor.load(adapter, device="cpu")


@pytest.mark.parametrize("version", [0, 2, None])
def test_an_adapter_of_another_tag_version_is_refused(adapter, tmp_path, version):
    """Refused although every digest is right: such a folder is whole, and another nerx made it."""
    folder = tmp_path / "adapter"
    shutil.copytree(adapter[0].adapter, folder)
    card = AdapterCard.read(folder)
    replace(card, tag_format={**card.tag_format, "version": version}).write(folder)
    with pytest.raises(
        AdapterError, match=rf"tag format version {version}, and this nerx reads version 1: fit it again"
    ):
        Extractor.load(folder, device="cpu")


def test_an_existing_folder_is_not_replaced_unasked(seeds, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="mine"):
            fit(FitConfig(seeds=seeds, out=tmp_path / "mine", overwrite=overwrite))
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


@pytest.mark.parametrize(
    "options", [{"rank": 0}, {"epochs": -1}, {"learning_rate": 0.0}, {"contrast": -0.1}, {"budget": "big"}]
)
def test_senseless_options_are_refused(seeds, options):
    with pytest.raises(InputError, match=next(iter(options)).replace("_", "-")):
        FitConfig(seeds=seeds, **options)
