"""Every bad input, given to the real command: one clear line, exit code 2, nothing written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import Nerx
from families import make_base

TEXT = "Ada went to Rome."
ADA = {"start": 0, "end": 3, "label": "person"}


def seed(**changes: object) -> str:
    return json.dumps({"text": TEXT, "entities": [ADA], **changes})


BAD_SEEDS = {
    "end beyond the text": (seed(entities=[{**ADA, "end": 99}]), "99"),
    "end before start": (seed(entities=[{**ADA, "start": 3, "end": 1}]), "start"),
    "overlap": (seed(entities=[ADA, {"start": 1, "end": 6, "label": "person"}]), "overlap"),
    "unknown key": (seed(entitys=[]), "entitys"),
    "no text": (json.dumps({"entities": [ADA]}), "text"),
    "no JSON": ("{'text': 'x'}", "JSON"),
    "offset is a string": (seed(entities=[{**ADA, "start": "0"}]), "start"),
    "a label that occurs once": (seed(text="Rome it is.", entities=[{**ADA, "label": "rare"}]), "rare"),
}


@pytest.mark.parametrize(("line", "said"), BAD_SEEDS.values(), ids=BAD_SEEDS)
def test_a_bad_seed_is_named_by_line_and_stops_the_run(line: str, said: str, nerx: Nerx, tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.jsonl"
    other = json.dumps({"text": "Ada came.", "entities": [ADA]})
    seeds.write_text(f"{seed()}\n{line}\n{other}\n", encoding="utf-8")
    done = nerx("fit", seeds, "--out", tmp_path / "adapter")
    assert done.code == 2
    assert done.out == ""
    assert len(done.errors) == 1, done.err
    assert done.errors[0].startswith(f"{seeds}:2: ")
    assert said in done.errors[0]
    assert not (tmp_path / "adapter").exists()


def test_all_bad_seeds_are_listed(nerx: Nerx, tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text(f"{seed()}\nnonsense\n{seed(more=1)}\n{seed(text=3)}\n", encoding="utf-8")
    places = [line.split(": ")[0] for line in nerx("fit", seeds, "--out", tmp_path / "adapter").errors]
    assert places == [f"{seeds}:{number}" for number in (2, 3, 4)]


SEED_FILES: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, "no such file"),
    "empty": (b"", "empty"),
    "not UTF-8": (b'{"text": "caf\xe9", "entities": []}\n', "UTF-8"),
    "no entities at all": (b'{"text": "a", "entities": []}\n', "no entit"),
}


@pytest.mark.parametrize(("content", "said"), SEED_FILES.values(), ids=SEED_FILES)
def test_a_bad_seed_file(content: bytes | None, said: str, nerx: Nerx, tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.jsonl"
    if content is not None:
        seeds.write_bytes(content)
    done = nerx("fit", seeds, "--out", tmp_path / "adapter")
    assert done.code == 2
    assert len(done.errors) == 1
    assert str(seeds) in done.errors[0]
    assert said.lower() in done.errors[0].lower()
    assert not (tmp_path / "adapter").exists()


def test_fit_does_not_replace_an_adapter_unasked(nerx: Nerx, seed_file: Path, tiny_adapter: Path) -> None:
    before = sorted((path.name, path.stat().st_mtime_ns) for path in tiny_adapter.iterdir())
    done = nerx("fit", seed_file, "--out", tiny_adapter)
    assert done.code == 2
    assert "--overwrite" in done.errors[0]
    assert before == sorted((path.name, path.stat().st_mtime_ns) for path in tiny_adapter.iterdir())


def test_fit_does_not_replace_a_folder_that_is_no_adapter(nerx: Nerx, seed_file: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = nerx("fit", seed_file, "--out", tmp_path, "--overwrite")
    assert done.code == 2
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_fit_says_that_a_base_is_not_there(nerx: Nerx, seed_file: Path, tmp_path: Path) -> None:
    done = nerx("fit", seed_file, "--base", tmp_path / "nowhere", "--out", tmp_path / "adapter")
    assert done.code == 2
    assert "nowhere" in done.errors[0]
    assert not (tmp_path / "adapter").exists()


def _missing(folder: Path) -> None:
    """Nothing is written."""


def _nothing_known(folder: Path) -> None:
    (folder / "in.parquet").mkdir()
    (folder / "in.parquet/photo.png").write_bytes(b"png")


def _other_columns(folder: Path) -> None:
    pq.write_table(pa.table({"title": ["a"], "body": ["b"], "stars": [3]}), folder / "in.parquet")


def _number_column(folder: Path) -> None:
    pq.write_table(pa.table({"text": [1, 2], "body": ["a", "b"]}), folder / "in.parquet")


def _truncated(folder: Path) -> None:
    pq.write_table(pa.table({"text": ["a" * 100] * 100}), folder / "in.parquet")
    whole = (folder / "in.parquet").read_bytes()
    (folder / "in.parquet").write_bytes(whole[: len(whole) // 2])


def _foreign(folder: Path) -> None:
    (folder / "in.parquet").write_text("text\nnot parquet\n")


def _empty_file(folder: Path) -> None:
    (folder / "in.parquet").write_bytes(b"")


def _output_of_nerx(folder: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "entities": [[1]]}), folder / "in.parquet")


CORPORA: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "missing file": (_missing, ["no such file"]),
    "folder without known files": (_nothing_known, ["no file with a known suffix", ".jsonl"]),
    "no text column": (_other_columns, ["title", "body", "stars", "--text-column"]),
    "text column is no string": (_number_column, ["'text'", "int64"]),
    "truncated Parquet": (_truncated, ["Parquet"]),
    "foreign Parquet": (_foreign, ["Parquet"]),
    "empty Parquet": (_empty_file, ["Parquet"]),
    "entities are there already": (_output_of_nerx, ["'entities'"]),
}


@pytest.mark.parametrize(("make", "said"), CORPORA.values(), ids=CORPORA)
def test_a_bad_corpus(
    make: Callable[[Path], None], said: list[str], nerx: Nerx, tiny_adapter: Path, tmp_path: Path
) -> None:
    make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    done = nerx("extract", tmp_path / "in.parquet", "--adapter", tiny_adapter)
    assert done.code == 2
    assert done.out == ""
    assert len(done.errors) == 1, done.err
    assert all(words in done.errors[0] for words in said), done.errors
    assert sorted(tmp_path.rglob("*")) == before


BAD_LINES = {
    "broken UTF-8 in JSONL": ("in.jsonl", b'{"text": "fine"}\n{"text": "caf\xe9"}\n', "in.jsonl"),
    "broken JSON": ("in.jsonl", b'{"text": "fine"}\n{"text": \n', "in.jsonl"),
    "broken UTF-8 in CSV": ("in.csv", b"text\ncaf\xe9\n", "in.csv"),
    "unknown suffix": ("in.docx", b"PK", "in.docx"),
}


@pytest.mark.parametrize(("name", "content", "said"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line(name: str, content: bytes, said: str, nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    done = nerx("extract", tmp_path / name, "--adapter", tiny_adapter)
    assert done.code == 2, done.err
    assert len(done.errors) == 1
    assert said in done.errors[0]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_column_asked_for_that_is_not_there(nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    _other_columns(tmp_path)
    done = nerx("extract", tmp_path / "in.parquet", "--adapter", tiny_adapter, "--text-column", "txt")
    assert done.code == 2
    assert "'txt'" in done.errors[0]
    assert "title (string), body (string), stars (int64)" in done.errors[0]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    pq.write_table(pa.table({"text": [TEXT]}), tmp_path / "in.parquet")
    return tmp_path / "in.parquet"


def test_an_output_is_not_replaced_unasked(nerx: Nerx, corpus: Path, tiny_adapter: Path) -> None:
    out = corpus.with_name("in.nerx.parquet")
    out.write_bytes(b"precious")
    done = nerx("extract", corpus, "--adapter", tiny_adapter)
    assert done.code == 2
    assert "--overwrite" in done.errors[0]
    assert out.read_bytes() == b"precious"


def test_an_input_is_never_the_output(nerx: Nerx, corpus: Path, tiny_adapter: Path) -> None:
    before = corpus.read_bytes()
    done = nerx("extract", corpus, "--adapter", tiny_adapter, "--out", corpus, "--overwrite")
    assert done.code == 2
    assert corpus.read_bytes() == before


def test_an_adapter_that_is_not_there(nerx: Nerx, corpus: Path, tmp_path: Path) -> None:
    done = nerx("extract", corpus, "--adapter", tmp_path / "nowhere")
    assert done.code == 2
    assert "nowhere" in done.errors[0]
    assert "nerx fit" in done.errors[0]


@pytest.mark.parametrize(
    "name", ["nerx.json", "adapter_model.safetensors", "adapter_config.json", "drafter.safetensors"]
)
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_adapter(
    name: str, damage: str, nerx: Nerx, corpus: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    broken = Path(shutil.copytree(tiny_adapter, tmp_path / "broken"))
    whole = (broken / name).read_bytes()
    (broken / name).unlink()
    if damage == "cut":
        (broken / name).write_bytes(whole[: len(whole) // 2])
    done = nerx("extract", corpus, "--adapter", broken)
    assert done.code == 2, done.err
    assert len(done.errors) == 1
    assert name in done.errors[0]
    assert not corpus.with_name("in.nerx.parquet").exists()


def test_an_adapter_made_for_another_base(nerx: Nerx, corpus: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    other = make_base("llama", tmp_path / "other", seed=1)
    done = nerx("extract", corpus, "--adapter", tiny_adapter, "--base", other)
    assert done.code == 2
    assert "another base" in done.errors[0]


@pytest.mark.parametrize("command", ["inspect", "view"])
def test_looking_at_what_nerx_did_not_make(command: str, nerx: Nerx, corpus: Path) -> None:
    done = nerx(command, corpus)
    assert done.code == 2
    assert len(done.errors) == 1
    assert str(corpus) in done.errors[0]
    assert nerx(command, corpus.with_name("nowhere")).code == 2
