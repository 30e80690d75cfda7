"""A base is the one that the adapter was made for: every byte of it counts, and a large file is read once."""

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import Nerx
from families import make_base
from safetensors.torch import load_file, save_file

from nerx.engine.bases import memory
from nerx.engine.bases.digest import base_digest, earlier_digest, file_digest
from nerx.engine.tagging.card import AdapterCard

OLD_NS = 60_000_000_000


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NERX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "Ada met Bob in Rome."}\n')
    return path


@pytest.fixture
def base(tiny_base: Path, tmp_path: Path) -> Path:
    """A copy of the base, large enough that its middle is neither in its first nor in its last MiB."""
    folder = tmp_path / "base"
    shutil.copytree(tiny_base, folder)
    weights = load_file(folder / "model.safetensors")
    weights["nothing.that.is.loaded"] = torch.ones(1_500_000)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def damage(path: Path) -> None:
    """Zero a stretch in the middle of a file."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(bytes(1 << 16))


def forge(adapter: Path, **changes: object) -> None:
    """Change the card of an adapter as an earlier or another nerx would have written it."""
    replace(AdapterCard.read(adapter), **changes).write(adapter)


def test_zeros_in_the_middle_of_a_base_are_noticed(
    nerx: Nerx, corpus: Path, base: Path, seed_file: Path, tmp_path: Path
) -> None:
    adapter = tmp_path / "adapter"
    fit = nerx("fit", seed_file, "--base", base, "--out", adapter, "--epochs", 1, "--rank", 2)
    assert fit.code == 0, fit.err
    assert nerx("inspect", adapter, "--verify").code == 0
    assert nerx("extract", corpus, "--adapter", adapter, "--out", tmp_path / "good.parquet").code == 0
    damage(base / "model.safetensors")
    done = nerx("extract", corpus, "--adapter", adapter, "--out", tmp_path / "bad.parquet")
    assert done.code == 2
    assert len(done.errors) == 1
    assert "made for another base" in done.errors[0]
    assert not (tmp_path / "bad.parquet").exists()
    for seen in (
        nerx("inspect", adapter, "--verify"),
        nerx("inspect", tmp_path / "good.parquet", "--verify", "--adapter", adapter),
    ):
        assert seen.code == 2
        assert "made for another base" in seen.errors[0]


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"])
def test_every_file_that_decides_counts(base: Path, name: str) -> None:
    before = base_digest(base)
    (base / "README.md").write_text("another word\n")
    assert base_digest(base) == before
    data = (base / name).read_bytes()
    (base / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert base_digest(base) != before


def test_a_copy_under_another_name_is_the_same_base(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "elsewhere")
    assert base_digest(tmp_path / "elsewhere") == base_digest(base)


def test_weights_in_files_that_only_the_index_names_count(base: Path) -> None:
    (base / "model.safetensors").rename(base / "weights-1.safetensors")
    names = load_file(base / "weights-1.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, "weights-1.safetensors")}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    before = base_digest(base)
    damage(base / "weights-1.safetensors")
    assert base_digest(base) != before


def test_an_adapter_with_the_digest_of_an_earlier_nerx_is_accepted(
    nerx: Nerx, corpus: Path, tiny_base: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    adapter = tmp_path / "adapter"
    shutil.copytree(tiny_adapter, adapter)
    forge(adapter, base_digest=earlier_digest(tiny_base))
    assert nerx("extract", corpus, "--adapter", adapter).code == 0
    forge(adapter, base_digest=earlier_digest(make_base("llama", tmp_path / "other", seed=5)))
    done = nerx("extract", corpus, "--adapter", adapter, "--overwrite")
    assert (done.code, len(done.errors)) == (2, 1)
    assert "another base" in done.errors[0]


def test_an_adapter_without_a_digest_of_its_base_is_refused(
    nerx: Nerx, corpus: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    adapter = tmp_path / "adapter"
    shutil.copytree(tiny_adapter, adapter)
    forge(adapter, base_digest="")
    done = nerx("extract", corpus, "--adapter", adapter)
    assert (done.code, len(done.errors)) == (2, 1)
    assert "does not say which revision of base" in done.errors[0]


# What is remembered


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(bytes(memory.LARGE))
    return path


def settle(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the file had been written a minute ago."""
    now = time.time_ns()
    monkeypatch.setattr(memory.time, "time_ns", lambda: now + OLD_NS)
    assert path.exists()


def counted(reads: list[Path]) -> Callable[[Path], str]:
    def compute(path: Path) -> str:
        reads.append(path)
        return str(len(reads))

    return compute


def test_a_large_file_is_read_once(large: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(large, monkeypatch)
    reads: list[Path] = []
    assert [memory.remembered(large, counted(reads)) for _ in range(3)] == ["1", "1", "1"]
    assert list(json.loads((cache / memory.FILE).read_text())) == [str(large)]
    assert [path.name for path in cache.iterdir()] == [memory.FILE]


@pytest.mark.parametrize("change", ["size", "content and time", "content with its old time", "another file"])
def test_a_file_that_may_have_changed_is_read_again(large: Path, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(large, monkeypatch)
    reads: list[Path] = []
    memory.remembered(large, counted(reads))
    state = large.stat()
    if change == "size":
        with large.open("ab") as file:
            file.write(b"x")
    elif change == "another file":
        other = large.with_name("other.bin")
        other.write_bytes(large.read_bytes())
        os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
        other.replace(large)
    else:
        damage(large)
        if change == "content with its old time":
            os.utime(large, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert memory.remembered(large, counted(reads)) == "2"


def test_a_file_that_was_written_a_moment_ago_is_not_remembered(large: Path, cache: Path) -> None:
    reads: list[Path] = []
    memory.remembered(large, counted(reads))
    memory.remembered(large, counted(reads))
    assert len(reads) == 2
    assert not cache.exists()


@pytest.mark.parametrize("trouble", ["no json", "a list", "no folder"])
def test_a_memory_that_cannot_be_used_costs_time_and_nothing_else(
    large: Path, cache: Path, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(large, monkeypatch)
    if trouble == "no folder":
        cache.write_text("a file")
    else:
        cache.mkdir()
        (cache / memory.FILE).write_text("{" if trouble == "no json" else "[1]")
    expected = "bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8"
    assert file_digest(large) == file_digest(large) == expected
