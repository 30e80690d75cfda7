"""`nerx bench` through the real command, and the precisions that it compares."""

import json
from pathlib import Path

import pytest
from commands import Nerx

from nerx.engine.errors import AdapterError
from nerx.engine.tagging.extractor import Extractor
from nerx.engine.tagging.loading import dtype_of, pick_device

PEOPLE = ("Ada", "Grace", "Alan", "Emmy", "Charles")
TEXTS = [f"{name} met {PEOPLE[n - 1]} in Rome, {n} times." for n, name in enumerate(PEOPLE)]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("".join(f"{text}\n" for text in TEXTS * 5), encoding="utf-8")
    return path


def test_bench_times_every_way_at_every_precision(nerx: Nerx, corpus: Path, tiny_adapter: Path) -> None:
    done = nerx("bench", corpus, "--adapter", tiny_adapter, "--texts", 20, "--threads", 1, "--json")
    assert done.code == 0
    result = json.loads(done.out)
    assert (result["texts"], result["corpus_texts"], result["threads"]) == (20, 25, 1)
    ways = ("one pass", "exact", "fast", "step by step")
    expected = [(way, precision) for precision in ("float32", "bfloat16", "int8") for way in ways]
    assert [(pace["way"], pace["precision"]) for pace in result["paces"]] == expected
    one_pass, exact, fast, step = result["paces"][:4]
    assert (one_pass["times_one_pass"], one_pass["agreement"], exact["agreement"]) == (1.0, None, 100.0)
    assert fast["rounds"] == 0 < exact["rounds"] < step["rounds"]
    assert all(pace["texts_a_second"] > 0 for pace in result["paces"])


def test_bench_prints_a_table_of_the_precisions_asked_for(nerx: Nerx, corpus: Path, tiny_adapter: Path) -> None:
    done = nerx("bench", corpus, "--adapter", tiny_adapter, "--texts", 5, "--precision", "float32")
    assert done.code == 0
    assert done.out.count("float32") == 4
    assert "bfloat16" not in done.out
    assert "texts/s" in done.out


def test_bench_says_when_there_is_nothing_to_time(nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text('{"text": null}\n{"text": ""}\n')
    done = nerx("bench", tmp_path / "empty.jsonl", "--adapter", tiny_adapter, "--text-column", "text")
    assert done.code == 2
    assert "no text in it to time" in done.errors[0]


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_a_lower_precision_finds_spans_in_unaltered_text(tiny_adapter: Path, precision: str) -> None:
    extractor = Extractor.load(tiny_adapter, device="cpu", precision=precision)  # type: ignore[arg-type]
    for text, found in zip(TEXTS, extractor.extract(TEXTS), strict=True):
        assert found.characters == len(text)
        assert all(0 <= span.start < span.end <= len(text) for span in found.spans or ())


def test_int8_is_for_cpus() -> None:
    assert dtype_of("int8", pick_device("cpu")).is_floating_point
    with pytest.raises(AdapterError, match="int8 is for CPUs"):
        dtype_of("int8", pick_device("cpu").__class__("cuda"))
