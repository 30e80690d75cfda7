"""The recipe of the embedded base, every stage of it, on texts made here: it runs, resumes, and hands on."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from nerx.engine.label import LabelSet
from nerx.engine.tagging.decoder import Decoder
from nerx.engine.tagging.loading import load_base, load_drafter

RECIPE = Path(__file__).parents[1] / "examples" / "base"
NAMES = ("Ada", "Babbage", "Curie", "Noether", "Turing", "Hopper")
PLACES = ("London", "Paris", "Delft", "Turin")

pytestmark = pytest.mark.slow


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.output_stream(str(path)) as stream:
        stream.write(content.encode())


def annotated(name: str, place: str) -> dict[str, object]:
    text = f"{name} took the night train to {place} with two trunks."
    at = text.index(f"to {place}") + len("to ")  # not the Turin of Turing
    spans = [(0, len(name), "person"), (at, at + len(place), "place")]
    return {"text": text, "entities": [{"start": start, "end": end, "label": label} for start, end, label in spans]}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rows = [json.dumps(annotated(name, place)) + "\n" for name in NAMES for place in PLACES]
    for name, licence in (("travel", "open"), ("closed", "research")):
        write(folder / "ner" / name / "train.jsonl.zst", "".join(rows))
        meta = {"licence_class": licence, "source": "here", "licence": "MIT"}
        (folder / "ner" / name / "meta.json").write_text(json.dumps(meta))
    documents = (f"{a} and {b} met in {c}.\nThey spoke of engines, page {k}." for k in range(40) for a in NAMES
                 for b, c in zip(NAMES, PLACES, strict=False))  # fmt: skip
    write(folder / "text" / "tales.txt.zst", "\n\n".join(documents) + "\n")
    return folder


def command(script: str, *arguments: object) -> list[str]:
    return [sys.executable, str(RECIPE / f"{script}.py"), *map(str, arguments)]


def run(script: str, *arguments: object) -> str:
    done = subprocess.run(command(script, *arguments), capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def prepared(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("work")
    sources = ("--text", data / "text", "--data", data / "ner")
    run("tokenizer", *sources, "--out", work / "tokenizer", "--entries", 400, "--share", 1.0)
    run("prepare", *sources, "--out", work / "tokens", "--tokenizer", work / "tokenizer", "--workers", 1)
    return work


def text_stage(prepared: Path, work: Path) -> list[str]:
    stage = (
        "--tokens-in",
        prepared / "tokens",
        "--start",
        "llama",
        "--tokenizer",
        prepared / "tokenizer",
        "--width",
        64,
        "--layers",
        2,
    )
    size = ("--tokens", 6000, "--context", 64, "--batch", 8, "--every", 3, "--threads", 1, "--float32")
    return command("text_tune", *stage, *size, "--work", work)


def test_shards_hold_all_documents_and_are_checked(prepared: Path, tmp_path: Path) -> None:
    shards = json.loads((prepared / "tokens" / "manifest.json").read_text())["tales.txt.zst"]
    assert {shard["kind"] for shard in shards} == {"train", "held_out"}
    assert sum(shard["tokens"] for shard in shards) > 15_000
    damaged = tmp_path / "tokens"
    damaged.mkdir()
    for path in (prepared / "tokens").iterdir():
        content = path.read_bytes()
        (damaged / path.name).write_bytes(content[:-1] + b"\x01" if path.suffix == ".safetensors" else content)
    argument = [str(damaged) if part == str(prepared / "tokens") else part for part in text_stage(prepared, tmp_path)]
    done = subprocess.run(argument, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 1
    assert "its sha-256 is not the manifest's" in done.stderr


def test_a_killed_text_stage_goes_on_to_the_same_weights(prepared: Path, tmp_path: Path) -> None:
    subprocess.run(text_stage(prepared, tmp_path / "whole"), check=True, capture_output=True, timeout=240)
    with subprocess.Popen(text_stage(prepared, tmp_path / "killed"), stdout=subprocess.DEVNULL) as process:
        while not (tmp_path / "killed" / "checkpoint.safetensors").exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    assert not (tmp_path / "killed" / "base").exists()
    with (tmp_path / "killed" / "log.jsonl").open("a") as log:  # as if the kill had come later
        log.write('{"tokens": 1000000, "loss": 0.0}\n{"tokens": 2000000, "lo')
    again = subprocess.run(text_stage(prepared, tmp_path / "killed"), check=True, capture_output=True, text=True)
    assert "resumed at" in again.stdout
    weights = [(tmp_path / name / "base" / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert weights[0] == weights[1]
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("whole", "killed")]
    losses = [[(told["tokens"], told["loss"]) for told in map(json.loads, log)] for log in logs]
    assert losses[0] == losses[1], "what the killed run wrote after its last checkpoint is told once"
    told = [json.loads((tmp_path / name / "base" / "training.json").read_text()) for name in ("whole", "killed")]
    assert told[0]["origin"] == "llama"
    assert [stage["tokens"] for stage in told[0]["stages"]] == [losses[0][-1][0]]
    assert told[1]["stages"][0]["steps"] == told[0]["stages"][0]["steps"]


def test_tag_stage_and_export_make_a_base_that_nerx_drives(prepared: Path, data: Path, tmp_path: Path) -> None:
    subprocess.run(text_stage(prepared, tmp_path / "text"), check=True, capture_output=True, timeout=240)
    start = ("--data", data / "ner", "--start", tmp_path / "text" / "base", "--work", tmp_path / "tag")
    replay = ("--tokens-in", prepared / "tokens", "--replay", 0.3)
    size = ("--tokens", 150_000, "--batch", 1500, "--threads", 1, "--rate", 2e-3, "--every", 1)
    run("tag_tune", *start, *replay, *size)
    run("export", *start, "--out", tmp_path / "base")
    records = [json.loads(line) for line in (tmp_path / "tag" / "log.jsonl").read_text().splitlines()]
    assert records[-1]["legal"] < records[0]["legal"] / 2
    model = load_base(tmp_path / "base", device="cpu")
    assert model.tags.aligned
    labels = LabelSet.of("person", "place")
    decoder = Decoder(model, model.encoder.encode_head(labels), load_drafter(tmp_path / "base", model.width))
    text = "Hopper took the night train to Delft with two trunks."
    source = model.encoder.encode_source(text)
    found = [source.characters(span.start, span.end) for span, _ in decoder.decode([source])[0].spans]
    assert [text[start:end] for start, end in found] == ["Hopper", "Delft"]
    assert "| travel | here | MIT |" in (tmp_path / "base" / "README.md").read_text()
    card = (tmp_path / "base" / "README.md").read_text()
    assert "closed" not in card
    assert "Open text: tales.txt.zst. Annotated sets" in card
    assert "It began as a Llama" in card
    assert "MiniLM" not in card
    assert "`nerx_aligned`" in card
    assert "`nerx_case`" not in card
    history = json.loads((tmp_path / "base" / "training.json").read_text())
    text, tag = history["stages"]
    assert (text["kind"], text["rows"], text["device"]) == ("text", 0, "one CPU core (float32)")
    assert (tag["kind"], tag["tokens"], tag["steps"]) == ("tag", records[-1]["tokens"], records[-1]["step"])
    assert tag["rows"] % 256 == 0
    assert history["curve"][-1] == records[-1]


def test_pieces_come_together_again_or_not_at_all(tmp_path: Path) -> None:
    content = os.urandom(16 * 1024 * 1024 + 5)
    (tmp_path / "weights.bin").write_bytes(content)
    run("pieces", "split", tmp_path / "weights.bin", tmp_path / "cut")
    run("pieces", "join", tmp_path / "cut" / "weights.bin.json", tmp_path / "joined")
    assert (tmp_path / "joined" / "weights.bin").read_bytes() == content
    (tmp_path / "cut" / "weights.bin.001").write_bytes(b"other")
    listing = tmp_path / "cut" / "weights.bin.json"
    done = subprocess.run(
        command("pieces", "join", listing, tmp_path / "not"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "weights.bin.001: damaged" in done.stderr
    assert not (tmp_path / "not" / "weights.bin").exists()
