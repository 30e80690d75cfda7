"""What stdout cannot hold, and what would act on a terminal: neither ends a command whose output is published."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import Nerx

from nerx.cli.app import main

LABEL = "miasto Łódź 都市"
TEXT = "Ada Łęcka naps in 東京 \U0001f600 today."
ESCAPES = set("\x1b\x07\x9b\u202e\r")
Narrow = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def adapter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a label and texts that few encodings hold."""
    import nerx

    folder = tmp_path_factory.mktemp("narrow")
    seed = {"entities": [{"start": 18, "end": 20, "label": LABEL}]}
    seeds = [{**seed, "text": TEXT}, {**seed, "text": TEXT.replace("Ada", "Eda")}]
    (folder / "seeds.jsonl").write_text("".join(json.dumps(one) + "\n" for one in seeds))
    options = {"epochs": 1, "rank": 2, "min_score": 0, "device": "cpu"}
    return nerx.fit(folder / "seeds.jsonl", base=str(tiny_base), out=folder / "adapter", **options).adapter


@pytest.fixture(params=["ascii", "cp1252", "latin-1"])
def narrow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Narrow:
    """The command with a stdout of few characters: exit code and what was written."""

    def run(*arguments: object) -> tuple[int, str]:
        raw = io.BytesIO()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=request.param, write_through=True))
            with pytest.raises(SystemExit) as end:
                main([str(argument) for argument in arguments])
            sys.stdout.flush()
            return int(end.value.code or 0), raw.getvalue().decode(request.param)

    return run


def test_a_narrow_stdout_shows_escapes_and_fails_nothing(narrow: Narrow, adapter: Path, tmp_path: Path) -> None:
    rows = [{"text": TEXT} for _ in range(5)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    gold = {**rows[0], "entities": [{"start": 18, "end": 20, "label": LABEL}]}
    (tmp_path / "gold.jsonl").write_text(json.dumps(gold) + "\n")
    out = tmp_path / "Łódź.parquet"
    extract = ("extract", tmp_path / "in.jsonl", "--adapter", adapter, "--out", out)
    commands: list[tuple[object, ...]] = [
        extract,
        ("view", out, "--empty"),
        ("inspect", out),
        ("inspect", adapter),
        ("eval", adapter, tmp_path / "gold.jsonl"),
        ("diff", out, out, "--show", 3),
    ]
    for command in commands:
        code, shown = narrow(*command)
        assert code == 0, command
        assert "\\u" in shown
    for command in ((*extract, "--overwrite"), ("inspect", out), ("inspect", adapter), ("eval", *commands[4][1:])):
        code, told = narrow(*command, "--json")
        assert code == 0, command
        assert "都市" in str(json.loads(told)) or "Łódź" in str(json.loads(told))


HOSTILE = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202e"


def test_no_escape_sequence_comes_through_an_error_message(nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({HOSTILE: ["a"], f"{HOSTILE}2": ["b"]}), tmp_path / "in.parquet")
    columns = nerx("extract", tmp_path / "in.parquet", "--adapter", tiny_adapter)
    assert columns.code == 2
    card = json.loads((tiny_adapter / "nerx.json").read_text())
    (tmp_path / "adapter").mkdir()
    (tmp_path / "in.txt").write_text("Ada\n")
    forged = []
    for field, value in (("tag_format", {**card["tag_format"], "version": HOSTILE}), ("base", HOSTILE)):
        (tmp_path / "adapter" / "nerx.json").write_text(json.dumps({**card, field: value, "digest": HOSTILE}))
        forged.append(nerx("extract", tmp_path / "in.txt", "--adapter", tmp_path / "adapter"))
        assert forged[-1].code == 2
    (tmp_path / HOSTILE).mkdir()
    names = nerx("extract", tmp_path / HOSTILE, "--adapter", tiny_adapter)
    for done in (columns, *forged, names):
        assert not set(done.err + done.out) & ESCAPES
    assert "red" in columns.err
    assert "red" in names.err
