"""Exports of other tools in the place of seeds: `nerx fit` names the tool, and the command that it gives works."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from commands import Nerx

from nerx.adapters.reader import MOST_PROBLEMS, read_seeds

DATA = Path(__file__).parent / "data" / "exports"
TOOLS = {
    "prodigy.jsonl": "Prodigy",
    "label_studio.json": "Label Studio (JSON)",
    "label_studio_min.json": "Label Studio (JSON-MIN)",
    "doccano.jsonl": "doccano",
    "doccano_relations.jsonl": "doccano (relations)",
    "spacy.jsonl": "spaCy (tuples)",
    "spacy.json": "spaCy (tuples)",
}
NO_JQ = pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq")


@pytest.mark.parametrize(("name", "tool"), TOOLS.items(), ids=TOOLS)
def test_an_export_is_called_by_its_name(name: str, tool: str, nerx: Nerx, tmp_path: Path) -> None:
    done = nerx("fit", DATA / name, "--out", tmp_path / "adapter")
    assert done.code == 2
    assert all(f"this looks like an export of {tool}; " in error for error in done.errors), done.errors
    assert re.search(rf"{name}(:1)?: ", done.errors[0])


@NO_JQ
@pytest.mark.parametrize("name", TOOLS)
def test_the_command_that_is_given_makes_seeds_of_it(name: str, nerx: Nerx, tmp_path: Path) -> None:
    said = nerx("fit", DATA / name, "--out", tmp_path / "adapter").errors[0]
    program = re.search(r"jq -c '(.*)'", said)
    assert program is not None
    done = subprocess.run(["jq", "-c", program[1], DATA / name], capture_output=True, check=True)
    (tmp_path / "seeds.jsonl").write_bytes(done.stdout)
    seeds = read_seeds(tmp_path / "seeds.jsonl", training=False).seeds
    found = [(seed.text[span.start : span.end], span.label) for seed in seeds for span in seed.spans]
    assert found == [("Ana", "person"), ("Lima", "place"), ("Bo", "person"), ("Rome", "place")]


@pytest.mark.parametrize(
    ("record", "tool"),
    [
        ({"tokens": ["Ana"], "ner_tags": [1]}, "token tags"),
        ({"tokenized_text": ["Ana"], "ner": [[0, 0, "person"]]}, "GLiNER"),
    ],
)
def test_tools_that_count_in_tokens_are_named(record: object, tool: str, nerx: Nerx, tmp_path: Path) -> None:
    (tmp_path / "seeds.jsonl").write_text(json.dumps(record) + "\n")
    done = nerx("fit", tmp_path / "seeds.jsonl", "--out", tmp_path / "adapter")
    assert done.code == 2
    assert len(done.errors) == 1
    assert f"seeds.jsonl:1: this looks like an export of {tool}" in done.errors[0]
    assert "it counts in tokens" in done.errors[0]


def test_two_thousand_bad_lines_are_twenty_errors_and_a_count(nerx: Nerx, tmp_path: Path) -> None:
    (tmp_path / "seeds.jsonl").write_text('{"txt": "Ana"}\n' * 2000)
    done = nerx("fit", tmp_path / "seeds.jsonl", "--out", tmp_path / "adapter")
    assert done.code == 2
    assert len(done.errors) == MOST_PROBLEMS + 1
    assert done.errors[-1].endswith("seeds.jsonl: 5,980 more problems, 6,000 in all, on 2,000 lines")


@pytest.mark.parametrize(
    ("text", "start", "end", "said"),
    [
        ("😀 Ana left Lima", 3, 6, "3:6 is 'na ' in characters, but 'Ana' in UTF-16 units; write 2:5 if"),
        ("😀 Marianne-Lee", 3, 11, "3:11 is 'arianne-' in characters, but 'Marianne' in UTF-16 units; write 2:10 if"),
        ("😀😀 A left", 5, 6, "5:6 is 'l' in characters, but 'A' in UTF-16 units; write 3:4 if"),
        ("😀 A left", 3, 4, "3:4 is ' ' in characters, but 'A' in UTF-16 units; write 2:3 if"),
        ("😀 Ana", 3, 6, "these may be UTF-16 offsets: in characters 'Ana' is 2:5"),
    ],
)
def test_offsets_after_an_emoji_that_may_be_utf16_units_show_both_readings(
    text: str, start: int, end: int, said: str, nerx: Nerx, tmp_path: Path
) -> None:
    entity = {"start": start, "end": end, "label": "person"}
    (tmp_path / "seeds.jsonl").write_text(json.dumps({"text": text, "entities": [entity]}) + "\n")
    done = nerx("fit", tmp_path / "seeds.jsonl", "--out", tmp_path / "adapter")
    assert done.code == 2
    assert said in done.errors[0]


@pytest.mark.parametrize(
    "entity",
    [
        {"start": 2, "end": 5, "label": "x"},  # whole words in characters
        {"start": 3, "end": 5, "label": "x", "text": "na"},  # the entity says what it is
        {"start": 3, "end": 5, "label": "x"},  # no whole word in UTF-16 units
    ],
)
def test_offsets_in_characters_after_an_emoji_are_taken(entity: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "seeds.jsonl").write_text(json.dumps({"text": "😀 Ana left", "entities": [entity]}) + "\n")
    assert len(read_seeds(tmp_path / "seeds.jsonl", training=False).seeds) == 1
