"""A base on a hub: its adapter names the revision and the digest, and no other revision takes its place."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Nerx
from families import make_base
from hubs import Hub, put_in_cache, serving

from nerx.engine.bases.digest import base_digest

NAME = "owner/tiny"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "Ada met Bob in Rome, said Charles to Emmy."}\n')
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which Hugging Face's libraries keep what they fetched. They read its place when they load."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def adapter(nerx: Nerx, cache: Path, tiny_base: Path, seed_file: Path, tmp_path: Path) -> Path:
    """Of a base given by its hub id."""
    put_in_cache(cache, NAME, tiny_base)
    out = tmp_path / "adapter"
    done = nerx("fit", seed_file, "--base", NAME, "--out", out, "--epochs", 1, "--rank", 2)
    assert done.code == 0, done.err
    return out


def test_the_card_names_revision_and_digest(nerx: Nerx, adapter: Path, cache: Path, tiny_base: Path) -> None:
    (commit,) = (path.name for path in cache.glob("*/snapshots/*"))
    card = json.loads((adapter / "nerx.json").read_text())
    assert (card["base"], card["base_digest"]) == (f"{NAME}@{commit}", base_digest(tiny_base))
    shown = nerx("inspect", adapter, "--verify")
    assert shown.code == 0
    assert f"{NAME}@{commit}" in "".join(shown.out.split())


def test_an_adapter_keeps_its_revision_when_the_branch_moves_on(
    nerx: Nerx, adapter: Path, cache: Path, corpus: Path, tmp_path: Path
) -> None:
    first = nerx("extract", corpus, "--adapter", adapter, "--out", tmp_path / "1.parquet", "--json")
    assert first.code == 0, first.err
    put_in_cache(cache, NAME, make_base("llama", tmp_path / "newer", seed=5))
    second = nerx("extract", corpus, "--adapter", adapter, "--out", tmp_path / "2.parquet", "--json")
    assert second.code == 0, second.err
    assert json.loads(first.out)["scores"] == json.loads(second.out)["scores"]
    newer = nerx("extract", corpus, "--adapter", adapter, "--out", tmp_path / "3.parquet", "--base", NAME)
    assert newer.code == 2
    assert "made for another base" in newer.errors[0]
    assert not (tmp_path / "3.parquet").exists()


def test_a_local_copy_of_the_files_is_the_same_base(
    nerx: Nerx, adapter: Path, corpus: Path, tiny_base: Path, tmp_path: Path
) -> None:
    options = ("--adapter", adapter, "--base", tiny_base, "--out", tmp_path / "out.parquet")
    assert nerx("extract", corpus, *options).code == 0


def test_another_snapshot_under_the_same_revision_is_refused(
    nerx: Nerx, adapter: Path, cache: Path, corpus: Path, tmp_path: Path
) -> None:
    (snapshot,) = cache.glob("*/snapshots/*")
    other = make_base("llama", tmp_path / "other", seed=5)
    (snapshot / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    for done in (nerx("extract", corpus, "--adapter", adapter), nerx("inspect", adapter, "--verify")):
        assert done.code == 2
        assert "made for another base" in done.errors[0]


@pytest.mark.parametrize("name", ["owner/nothing", "owner/tiny@gone", "nothing"])
def test_a_base_that_is_nowhere_is_one_clear_line(
    nerx: Nerx, cache: Path, tiny_base: Path, seed_file: Path, tmp_path: Path, name: str
) -> None:
    put_in_cache(cache, NAME, tiny_base)
    done = nerx("fit", seed_file, "--base", name, "--out", tmp_path / "out")
    assert (done.code, len(done.errors)) == (2, 1)
    assert "no such folder here, and the hub does not give it" in done.errors[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_base_comes_from_a_real_server_in_its_revision(
    seed_file: Path, corpus: Path, tiny_base: Path, tmp_path: Path
) -> None:
    def nerx(*arguments: object) -> "subprocess.CompletedProcess[str]":
        settings = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
        command = [sys.executable, "-m", "nerx", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **settings})

    adapter = tmp_path / "adapter"
    served = tmp_path / "served"
    shutil.copytree(tiny_base, served)
    (served / "README.md").write_text("Nobody needs this file.\n")
    hub = Hub(NAME, served)
    with serving(hub) as address:
        commit = hub.newest
        fit = nerx("fit", seed_file, "--base", NAME, "--out", adapter, "--epochs", 1, "--rank", 2)
        assert fit.returncode == 0, fit.stderr
        card = json.loads((adapter / "nerx.json").read_text())
        assert (card["base"], card["base_digest"]) == (f"{NAME}@{commit}", base_digest(tiny_base))
        assert not [path for path in hub.asked if path.endswith("README.md")]
        hub.move_to(make_base("llama", tmp_path / "newer", seed=5))
        done = nerx("extract", corpus, "--adapter", adapter)
        assert done.returncode == 0, done.stderr
        newer = nerx("extract", corpus, "--adapter", adapter, "--base", NAME, "--out", tmp_path / "o.parquet")
        assert newer.returncode == 2
        assert "made for another base" in newer.stderr
