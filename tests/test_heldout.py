"""What counts as a leak of a development text into the training data of the embedded base; that the recipe heeds it."""

import json
import sys
from pathlib import Path

import corpora
import pyarrow as pa
import pytest
from heldout import DEVELOPMENT

from benchmarks.quality import leaks
from nerx.adapters.priming.heldout import HeldOut, Place

LONG = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen."
SHORT = "Which films did Ada direct in Rome?"


def index_of(*texts: str) -> HeldOut:
    index = HeldOut()
    for line, text in enumerate(texts, 1):
        index.add(text, Place("dev", "test.jsonl", line))
    return index


@pytest.fixture
def index() -> HeldOut:
    return index_of(LONG, SHORT, "lol!")


def write_set(folder: Path, name: str, licence: str, texts: dict[str, list[str]]) -> None:
    place = folder / name
    place.mkdir(parents=True)
    (place / "meta.json").write_text(json.dumps({"licence_class": licence, "source": name, "licence": licence}))
    entities = [{"start": 0, "end": 1, "label": "thing"}]
    for file, lines in texts.items():
        content = "".join(json.dumps({"text": text, "entities": entities}) + "\n" for text in lines)
        with pa.output_stream(str(place / file)) as stream:
            stream.write(content.encode())


def kinds(index: HeldOut, text: str) -> list[str]:
    return sorted(match.kind for match in index.matches(text))


@pytest.mark.parametrize(
    "text",
    [
        LONG.upper(),
        "  one two -- three,four five\tsix seven eight nine ten eleven twelve thirteen fourteen\u00a0fifteen",
        "Ｏｎｅ two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen",
    ],
)
def test_case_white_space_punctuation_and_width_do_not_hide_a_text(index: HeldOut, text: str) -> None:
    assert kinds(index, text) == ["exact"]


def test_another_tokenisation_is_the_same_text() -> None:
    held = index_of("I do n't know")
    assert kinds(held, "I don't know.") == ["exact"]
    assert kinds(held, "I do know.") == []


def test_thirteen_words_in_a_row_are_found_and_twelve_are_not(index: HeldOut) -> None:
    found = LONG.removesuffix(".").lower().split()
    assert kinds(index, "so " + " ".join(found[1:14]) + " then") == ["run"]
    assert kinds(index, "so " + " ".join(found[1:13]) + " then") == []
    assert kinds(index, " ".join([*found[:7], "and", *found[7:]])) == []


def test_a_short_text_is_found_within_a_longer_one_whole_words_only(index: HeldOut) -> None:
    assert kinds(index, "He asked: which films did Ada direct in Rome -- and left.") == ["contained"]
    assert kinds(index, "which films did Ada direct in Romeo") == []
    assert kinds(index, "which films did Ada direct") == []


def test_a_text_of_few_words_counts_only_as_a_whole(index: HeldOut) -> None:
    assert kinds(index, "LOL") == ["exact"]
    assert kinds(index, "she said lol and left the room at once") == []


def test_a_text_without_words_matches_nothing() -> None:
    held = index_of("?!")
    assert held.texts == 1
    assert not held.touches("...")


def test_the_recipe_reads_open_sets_only_and_leaves_leaks_out(tmp_path: Path) -> None:
    write_set(
        tmp_path, "news", "open", {"train.jsonl.zst": ["Oslo is cold.", LONG, "x" * 600], "dev.jsonl.zst": ["No."]}
    )
    write_set(tmp_path, "secret", "unclear", {"train.jsonl.zst": ["Hidden."]})
    write_set(tmp_path, "wnut17", "open", {"train.jsonl.zst": ["Other."], "seeds_5shot_0.jsonl": [LONG.lower()]})
    sets = corpora.read_sets(tmp_path)
    assert [(one.name, [row.text for row in one.rows]) for one in sets] == [("news", ["Oslo is cold."])]


def test_the_program_names_lines_and_writes_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, text = tmp_path / "ner", tmp_path / "text"
    write_set(data, "news", "open", {"train.jsonl.zst": ["Oslo is cold.", LONG]})
    for name in DEVELOPMENT:
        write_set(data, name, "open", {"test.jsonl.zst": [f"Only {name}"]})
    with (data / "sec_fin" / "seeds_5shot_0.jsonl").open("w") as file:
        file.write(
            json.dumps({"text": LONG, "entities": []}) + "\n" + json.dumps({"text": SHORT, "entities": []}) + "\n"
        )
    text.mkdir()
    with pa.output_stream(str(text / "book.txt.zst")) as stream:
        stream.write(f"A paragraph.\n\nThen {SHORT} he said.\n".encode())

    out = tmp_path / "leaks.json"
    monkeypatch.setattr(sys, "argv", ["leaks.py", "--data", str(data), "--json", str(out)])
    leaks.main()
    news, book = json.loads(out.read_text())["sources"]
    assert [(leak["line"], leak["kind"], leak["held_out"]["line"]) for leak in news["leaks"]] == [(2, "exact", 1)]
    assert [(leak["line"], leak["kind"], leak["held_out"]["line"]) for leak in book["leaks"]] == [(3, "contained", 2)]
    assert [(one["texts"], one["kept"], one["kept_leaks"]) for one in (news, book)] == [(2, 1, 0), (2, 1, 0)]
    for written in (out.read_text(), out.with_suffix(".md").read_text(), capsys.readouterr().out):
        assert "Ada direct" not in written
        assert "thirteen fourteen" not in written


def test_a_missing_development_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_set(tmp_path, "wnut17", "open", {"test.jsonl.zst": ["Only."]})
    monkeypatch.setattr(sys, "argv", ["leaks.py", "--data", str(tmp_path)])
    with pytest.raises(SystemExit, match="lacks mit_movie, "):
        leaks.main()
