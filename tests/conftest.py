"""Settings of all tests: one thread a process, no way to a hub. And a tiny adapter, made by the real `fit`."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from commands import Nerx

# Set before torch and tokenizers are loaded: tiny models on two cores only lose time to threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # as nerx.cli.app.main does for its own process

TEXTS = {
    "Ada Lovelace wrote from London.": {"Ada Lovelace": "person", "London": "place"},
    "In Paris it rained.": {"Paris": "place"},
    "Charles met Ada in Rome.": {"Charles": "person", "Ada": "person", "Rome": "place"},
    "Nothing happened.": {},
    "Grace Hopper left Oslo at noon.": {"Grace Hopper": "person", "Oslo": "place"},
    "Alan stayed.": {"Alan": "person"},
    "To Lima by train, said Emmy.": {"Lima": "place", "Emmy": "person"},
    "The engine stood still.": {},
}
"""A small domain: two labels, texts with and without entities."""


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a shell may have set must not change results."""
    for name in [name for name in os.environ if name.startswith("NERX_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def seed_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("seeds") / "seeds.jsonl"
    lines: list[object] = [{"label": "person", "description": "name of a person"}]
    for text, mentions in TEXTS.items():
        places = [(text.index(mention), mention, label) for mention, label in mentions.items()]
        entities = [{"start": at, "end": at + len(mention), "label": label} for at, mention, label in places]
        lines.append({"text": text, "entities": entities})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly initialised Llama with two layers: right in form, wrong in everything it says."""
    from families import make_base

    return make_base("llama", tmp_path_factory.mktemp("base") / "llama")


@pytest.fixture(scope="session")
def tiny_adapter(tiny_base: Path, seed_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter for `tiny_base`, trained for a moment on `seed_file`. Tests that damage it copy it first."""
    import nerx

    out = tmp_path_factory.mktemp("adapter") / "tiny"
    return nerx.fit(seed_file, base=str(tiny_base), out=out, epochs=1, rank=2, min_score=0, device="cpu").adapter


@pytest.fixture
def nerx(capsys: pytest.CaptureFixture[str]) -> "Nerx":
    """The command, run in this process: `nerx("extract", path).err`."""
    from commands import runner

    return runner(capsys)
