"""`nerx prime` on a tiny model and two tiny sets: it learns, resumes, and makes folders that load everywhere."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from commands import Nerx
from families import make_base
from safetensors.torch import load_file
from torch import Tensor

from nerx.adapters.config import FitConfig
from nerx.adapters.fit import fit
from nerx.adapters.priming.checkpoint import load, save
from nerx.adapters.priming.config import PrimeConfig
from nerx.adapters.priming.glossary import Entry, Glossary
from nerx.adapters.priming.lora import LoraLinear, put_in
from nerx.adapters.priming.pupil import Pupil
from nerx.adapters.priming.sampler import Limits, Sampler
from nerx.adapters.priming.sets import AnnotatedSet, find_sets, read_set
from nerx.adapters.priming.stage import PrimeEvent, PrimeResult, prime
from nerx.adapters.priming.work import alone, work_folder
from nerx.engine.errors import InputError, OutputLockedError
from nerx.engine.span import Seed, Span
from nerx.engine.tagging.loading import load_base, load_drafter
from nerx.engine.tagging.model import LanguageModel

NAMES = ("Ada", "Babbage", "Curie", "Noether", "Turing", "Hopper")
PLACES = ("London", "Paris", "Delft", "Oslo")


def line(text: str, **mentions: str) -> str:
    entities = [
        {"start": text.index(mention), "end": text.index(mention) + len(mention), "label": label}
        for label, mention in mentions.items()
    ]
    return json.dumps({"text": text, "entities": entities}) + "\n"


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.output_stream(str(path)) as stream:
        stream.write(content.encode())
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sets: one packed and with a licence, one plain, which also has texts to measure on."""
    folder = tmp_path_factory.mktemp("sets")
    travel = [line(f"{name} went to {place}.", person=name, place=place) for name in NAMES for place in PLACES]
    write(folder / "travel" / "train.jsonl.zst", "".join(travel))
    (folder / "travel" / "meta.json").write_text(json.dumps({"source": "here", "licence": "MIT"}))
    letters = [line(f"Dear {name}, it rains.", addressee=name) for name in NAMES]
    write(folder / "letters" / "train.jsonl", "".join(letters))
    write(folder / "letters" / "test.jsonl", line("Dear Gauss, it snows.", addressee="Gauss"))
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base("llama", tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def config(base: Path, data: Path) -> PrimeConfig:
    """To be given an `out`. A high rate, since a random base knows nothing."""
    return PrimeConfig(
        str(base), (data,), Path("out"), tokens=24_000, rank=16, batch=400, rate=8e-3, device="cpu", threads=1
    )


@pytest.fixture(scope="module")
def primed(config: PrimeConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[PrimeResult, list[PrimeEvent]]:
    events: list[PrimeEvent] = []
    return prime(replace(config, out=tmp_path_factory.mktemp("lora") / "primed"), events.append), events


def states(model: LanguageModel, text: str = "Ada went to London.") -> Tensor:
    ids = torch.tensor([model.encoder.encode_source(text).ids])
    positions = torch.arange(ids.shape[1])[None]
    with torch.no_grad():
        found: Tensor = model.network.base_model(input_ids=ids, position_ids=positions).last_hidden_state
    return found


def test_it_learns_and_tells_how_far_it_is(primed: tuple[PrimeResult, list[PrimeEvent]]) -> None:
    result, events = primed
    points = [event.point for event in events if event.point is not None]
    assert points[-1].legal < 0.7 * points[0].legal
    assert points[-1].draft < 0.7 * points[0].draft
    assert [point.step for point in points] == list(range(1, len(points) + 1))
    assert result.point.tokens >= 24_000
    assert {event.stage for event in events} == {"read", "load", "begin", "prime", "save"}
    assert not result.work.exists()


def test_the_folder_says_what_it_is_made_of(primed: tuple[PrimeResult, list[PrimeEvent]]) -> None:
    folder = primed[0].base
    told = json.loads((folder / "training.json").read_text())
    assert told["origin"] == "tiny"
    assert [(stage["kind"], stage["tokens"]) for stage in told["stages"]] == [("tag", primed[0].point.tokens)]
    assert [(one["name"], one["texts"], one["licence"]) for one in told["sets"]] == [
        ("letters", 6, ""),
        ("travel", 24, "MIT"),
    ]
    assert told["curve"][0]["tokens"] < told["curve"][-1]["tokens"] == primed[0].point.tokens
    assert "| travel | 24 | 2 | here | MIT |" in (folder / "README.md").read_text()
    assert json.loads((folder / "config.json").read_text())["nerx_text_limit"] == 150
    assert "nerx_blocks" not in (folder / "config.json").read_text()


def test_plain_peft_and_load_base_give_the_states_that_were_trained(
    primed: tuple[PrimeResult, list[PrimeEvent]], config: PrimeConfig, base: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = primed[0].base
    model = load_base(folder, device="cpu")
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(folder / "priming"))
    again = LanguageModel(plain.get_base_model(), model.tokenizer, "plain")
    torch.testing.assert_close(states(again), states(model), rtol=1e-4, atol=1e-4)
    untrained = load_base(base, device="cpu")
    assert (states(untrained) - states(model)).abs().max() > 0.1

    pupil = Pupil(config, print)
    lora = load_file(folder / "priming" / "adapter_model.safetensors")
    assert {weight.dtype for weight in lora.values()} == {torch.bfloat16}
    layers = {name: layer for name, layer in pupil.parts["network"].named_modules() if isinstance(layer, LoraLinear)}
    assert len(lora) == 2 * len(layers) == 2 * 2 * 7
    for name, layer in layers.items():
        layer.a.data = lora[f"base_model.model.{name}.lora_A.weight"].float()
        layer.b.data = lora[f"base_model.model.{name}.lora_B.weight"].float()
    torch.testing.assert_close(states(pupil.model), states(model), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tokens", [4, 4000])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_both_ways_through_a_layer_give_what_plain_lora_gives(family: str, tokens: int, tmp_path: Path) -> None:
    network = load_base(make_base(family, tmp_path / family), device="cpu").network
    name, plain = next((name, one) for name, one in network.base_model.named_modules() if hasattr(one, "nf") or
                       isinstance(one, torch.nn.Linear))  # fmt: skip
    put_in(network.base_model, 4)
    layer = network.base_model.get_submodule(name)
    assert isinstance(layer, LoraLinear)
    torch.nn.init.normal_(layer.b)
    x = torch.randn(tokens, layer.weight.shape[1], requires_grad=True)
    found = torch.autograd.grad(layer(x).square().sum(), [x, layer.a, layer.b])
    expected = torch.autograd.grad(
        (plain(x) + x @ layer.a.T @ layer.b.T).square().sum(), [x, layer.a, layer.b], allow_unused=False
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()))


def test_fit_works_on_a_primed_folder(primed: tuple[PrimeResult, list[PrimeEvent]], data: Path, tmp_path: Path) -> None:
    seeds = write(tmp_path / "seeds.jsonl", (data / "letters" / "train.jsonl").read_text())
    told: list[str] = []
    result = fit(
        FitConfig(seeds, tmp_path / "adapter", base=str(primed[0].base), epochs=1, device="cpu"),
        lambda event: told.append(event.stage),
    )
    assert (result.adapter / "adapter_model.safetensors").is_file()
    assert "unprimed" not in told


def test_all_weights_make_a_plain_checkpoint_and_a_primed_base_can_be_primed_again(
    primed: tuple[PrimeResult, list[PrimeEvent]], config: PrimeConfig, tmp_path: Path
) -> None:
    again = replace(config, base=str(primed[0].base), tokens=1500, rate=1e-3)
    whole = prime(replace(again, rank=None, all_weights=True, out=tmp_path / "whole")).base
    assert not (whole / "priming").exists()
    assert load_drafter(whole, load_base(whole, device="cpu").width) is not None
    stages = json.loads((whole / "training.json").read_text())["stages"]
    assert [stage["kind"] for stage in stages] == ["tag", "tag"]

    twice = prime(replace(again, layers=1, out=tmp_path / "twice", checkpointing=True)).base
    model = load_base(twice, device="cpu")
    assert model.network.config.num_hidden_layers == 1
    first = load_base(primed[0].base, device="cpu").network
    kept = load_file(twice / "model.safetensors")["model.layers.0.mlp.up_proj.weight"]
    torch.testing.assert_close(kept.float(), first.model.layers[0].mlp.up_proj.weight, rtol=1e-2, atol=1e-3)


def arguments(config: PrimeConfig, out: Path) -> list[str]:
    options = {"--data": config.data[0], "--out": out, "--tokens": 8000, "--rank": 4, "--batch": 400, "--every": 0}
    written = [str(part) for option in options.items() for part in option]
    return ["prime", config.base, *written, "--device", "cpu", "--threads", "1"]


def test_a_killed_run_goes_on_to_the_same_bytes_and_a_stopped_one_says_how(
    config: PrimeConfig, nerx: Nerx, tmp_path: Path
) -> None:
    assert nerx(*arguments(config, tmp_path / "whole")).code == 0
    checkpoint = tmp_path / "killed.part" / "checkpoint.safetensors"
    command = [sys.executable, "-m", "nerx", *arguments(config, tmp_path / "killed")]
    for number in (signal.SIGKILL, signal.SIGTERM):
        seen = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == seen:
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(number)
            said = process.communicate(timeout=200)[1]
        assert process.returncode == (-9 if number == signal.SIGKILL else 143)
        assert not (tmp_path / "killed").exists()
    assert "going on" in said
    assert "run the same command again to go on" in said
    with (tmp_path / "killed.part" / "log.jsonl").open("a") as log:  # as if the kill had come later
        log.write('{"tokens": 1000000}\n{"tok')
    done = nerx(*arguments(config, tmp_path / "killed"), "--json")
    assert json.loads(done.out)["tokens"] >= 8000
    for name in ("priming/adapter_model.safetensors", "drafter.safetensors"):
        whole, killed = ((tmp_path / one / name).read_bytes() for one in ("whole", "killed"))
        assert whole == killed, name
    curves = [json.loads((tmp_path / one / "training.json").read_text())["curve"] for one in ("whole", "killed")]
    assert [(p["tokens"], p["legal"]) for p in curves[0]] == [(p["tokens"], p["legal"]) for p in curves[1]]
    assert not (tmp_path / "killed.part").exists()


def test_a_run_with_other_options_does_not_go_on(config: PrimeConfig, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stopped = prime(replace(config, out=out), stop=lambda: True)
    assert not stopped.finished
    with pytest.raises(InputError, match=r"out\.part holds a run that began otherwise: batch was '400' and is '500'"):
        prime(replace(config, out=out, batch=500))
    with alone(work_folder(out)), pytest.raises(OutputLockedError, match="another run"):
        prime(replace(config, out=out))


def test_a_checkpoint_is_one_safetensors_file_that_gives_back_what_was_saved(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.randn(4, 3))
    optimizer = torch.optim.AdamW([weight], lr=0.1, betas=(0.9, 0.98))
    optimizer.step(lambda: weight.square().sum().backward())
    tied = {"embedding": weight.detach(), "head": weight.detach()}
    path = tmp_path / "checkpoint.safetensors"
    save({"weights": tied, "optimizer": optimizer.state_dict(), "seconds": 0.1 + 0.2, "told": {"sets": "é, ü"}}, path)
    moments = {"optimizer/state/0/step", "optimizer/state/0/exp_avg", "optimizer/state/0/exp_avg_sq"}
    assert set(load_file(path)) == {"weights/embedding", *moments}
    found = load(path)
    assert torch.equal(found["weights"]["embedding"], weight)
    assert torch.equal(found["weights"]["head"], weight)
    assert (found["seconds"], found["told"]) == (0.1 + 0.2, {"sets": "é, ü"})
    before = optimizer.state_dict()
    optimizer.load_state_dict(found["optimizer"])
    torch.testing.assert_close(optimizer.state_dict()["state"], before["state"], rtol=0, atol=0)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_damaged_checkpoint_is_one_line_that_says_what_to_remove(config: PrimeConfig, tmp_path: Path) -> None:
    stopped = prime(replace(config, out=tmp_path / "out"), stop=lambda: True)
    path = stopped.work / "checkpoint.safetensors"
    for content in (b"", path.read_bytes()[:-1], b"no safetensors"):
        with path.open("wb") as file:
            file.write(content)
        with pytest.raises(
            InputError, match=r"checkpoint\.safetensors: not a checkpoint, or .* remove it and begin again"
        ):
            prime(replace(config, out=tmp_path / "out"))


def test_bad_input_gets_one_clear_line(nerx: Nerx, base: Path, data: Path, tmp_path: Path) -> None:
    def told(*arguments: object) -> str:
        done = nerx("prime", *arguments, "--tokens", 100, "--device", "cpu")
        assert done.code == 2, done.err
        (error,) = done.errors
        return error

    out = tmp_path / "out"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "empty: no .jsonl or .jsonl.zst file" in told(base, "--data", empty, "--out", out)
    assert "nowhere: no such folder" in told(base, "--data", tmp_path / "nowhere", "--out", out)
    bad = write(tmp_path / "bad" / "a.jsonl", line("To Rome", place="Rome") + '{"text": "x"}\n')
    assert f'{bad}:2: no "entities"' in told(base, "--data", bad.parent, "--out", out)
    assert "empty: exists already" in told(base, "--data", data, "--out", empty)
    assert "--layers 3: base " in told(base, "--data", data, "--out", out, "--layers", 3)
    assert "--rank is for LoRA" in told(base, "--data", data, "--out", out, "--rank", 3, "--all-weights")
    assert "--weight news: there is no such set" in told(base, "--data", data, "--out", out, "--weight", "news=2")
    assert "write the name of a set and a number" in told(base, "--data", data, "--out", out, "--weight", "news")
    assert "cannot load base" in told(tmp_path / "empty", "--data", data, "--out", out)
    held = told(base, "--data", data, "--held-out", data / "letters", "--out", out)
    assert held.endswith("letters: all texts with entities are held out; leave this set away")
    words = write(tmp_path / "words.json", '{"person": {"synonyms": "human"}}')
    assert "synonyms of 'person' is no list of texts" in told(base, "--data", data, "--labels", words, "--out", out)
    assert not out.exists()


def test_held_out_texts_and_measuring_splits_are_not_read(data: Path, tmp_path: Path) -> None:
    sources = find_sets([data])
    assert [(one.name, [path.name for path in one.files]) for one in sources] == [
        ("letters", ["train.jsonl"]),
        ("travel", ["train.jsonl.zst"]),
    ]
    found = read_set(sources[0], lambda text: "Ada" in text)
    assert (len(found.content.rows), found.left_out) == (5, 1)
    write(tmp_path / "one" / "b.jsonl", line("To Rome", place="Rome"))
    write(tmp_path / "one" / "a.jsonl", line("To Rome", place="Rome"))
    assert [path.name for path in find_sets([tmp_path / "one"])[0].files] == ["a.jsonl", "b.jsonl"]


def test_a_glossary_holds_synonyms_or_definitions(tmp_path: Path) -> None:
    words = write(tmp_path / "a.json", '{"city": {"synonyms": ["town"], "descriptions": ["a place"]}, "x": {}}')
    assert Glossary.read(words).of("city") == Entry(("town",), ("a place",))
    definitions = write(tmp_path / "b.json", '{"label": "city", "description": "a place"}\n')
    assert Glossary.read(definitions).of("city") == Entry((), ("a place",))
    assert Glossary.read(definitions).of("other") == Entry()


def test_a_group_shares_its_labels_and_a_long_text_is_cut_anywhere(base: Path) -> None:
    import random

    words = [f"word{n}" for n in range(60)]
    text = " ".join(words)
    spans = tuple(Span(text.index(word), text.index(word) + len(word), "thing") for word in words[10:60:10])
    encoder = load_base(base, device="cpu").encoder
    one = AnnotatedSet.of("long", [Seed(text, spans)] * 3)
    sampler = Sampler([one], Glossary(), encoder, Limits(longest=40, share=4, anywhere=True))
    sizes, starts = set(), set()
    for number in range(30):
        group = sampler.draw_group(random.Random(number))
        sizes.add(len(group))
        assert len({example.head.ids for example in group}) == 1
        for example in group:
            assert len(example.source) <= 40
            assert not example.tagged.moved
            starts.add(example.source.offsets[0][0])
    assert sizes == {1, 2, 3, 4}
    assert len(starts) > 5
    drawn = sampler.draw_batch(300, random.Random(0))
    assert sum(len(example) for example in drawn) >= 300


def test_interrupting_needs_no_signal_in_python(config: PrimeConfig, tmp_path: Path) -> None:
    asked = iter([False, False, True])
    result = prime(replace(config, out=tmp_path / "out"), stop=lambda: next(asked))
    assert (result.finished, result.point.step) == (False, 2)
    assert (result.work / "checkpoint.safetensors").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["out.part"]
