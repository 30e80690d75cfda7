"""Seed and label files as users write them, right and wrong; every message says what was seen and what to do."""

import gzip
import hashlib
import json

import pytest

from nerx.adapters.reader import read_labels, read_seeds
from nerx.engine.errors import SeedError
from nerx.engine.label import Label
from nerx.engine.span import Seed, Span

LIMA = {"text": "Ana lives in Lima", "entities": [{"start": 13, "end": 17, "label": "place"}]}
ROME = {"text": "Bo left Rome", "entities": [{"start": 8, "end": 12, "label": "place"}]}


@pytest.fixture
def write(tmp_path):
    """Writes a file of JSON values or raw bytes, a line each, and gives its path."""

    def lines(*values, name="seeds.jsonl"):
        path = tmp_path / name
        path.write_bytes(
            b"\n".join(value if isinstance(value, bytes) else json.dumps(value).encode() for value in values)
        )
        return path

    return lines


def problems_of(path, read=read_seeds, **options):
    """The messages without the folder in front."""
    with pytest.raises(SeedError) as caught:
        read(path, **options)
    return [problem.removeprefix(f"{path.parent}/") for problem in caught.value.problems]


def test_a_file_with_definitions_spans_ids_blank_lines_bom_and_crlf_is_read(write):
    path = write(
        b"\xef\xbb\xbf" + json.dumps({"label": "person", "description": " a human being "}).encode() + b"\r",
        {**LIMA, "id": 7, "meta": {"source": "x"}},
        b"   \r",
        {
            "text": "Bo met Ana",
            "spans": [{"start": 7, "end": 10, "label": "person"}, {"start": 0, "end": 2, "label": "person"}],
        },
        ROME,
        {"text": "nothing here", "entities": []},
    )
    file = read_seeds(path)
    assert [seed.where for seed in file.seeds] == [f"{path}:{line}" for line in (2, 4, 5, 6)]
    assert file.seeds[0] == Seed("Ana lives in Lima", (Span(13, 17, "place"),), f"{path}:2")
    assert file.seeds[1].spans == (Span(0, 2, "person"), Span(7, 10, "person"))
    assert file.labels.labels == (Label("person", "a human being"), Label("place"))
    assert file.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_line_separator_inside_a_string_does_not_end_the_line(write):
    text = "Ana\u2028Lima\x85Bo"
    seed = {"text": text, "entities": [{"start": 4, "end": 8, "label": "place"}]}
    assert read_seeds(write(json.dumps(seed, ensure_ascii=False).encode(), ROME)).seeds[0].text == text


def test_all_bad_lines_are_reported_in_the_order_of_the_file(write):
    path = write(
        LIMA,
        b'{"text": "cut',
        {"text": "x", "entities": [{"start": 0, "end": 9, "label": "a"}]},
        {"txt": "Ana"},
        LIMA | {"text": "Bo"},
    )
    lines = [problem.split(":")[1] for problem in problems_of(path)]
    assert lines == ["2", "3", "4", "4", "4", "5"]


def entity(start, end, label="place", **more):
    return {"text": "Ana lives in Lima", "entities": [{"start": start, "end": end, "label": label, **more}]}


LATER = {"start": 4, "end": 8, "label": "place"}
BAD_LINES = {
    "end past the text": (entity(13, 99), "entity 1: 13:99 ends after the text, which has 17 characters; "),
    "empty span": (entity(5, 5), "entity 1: 5:5 does not end after its start; correct the offsets"),
    "reversed span": (entity(5, 3), "entity 1: 5:3 does not end after its start; correct the offsets"),
    "negative start": (entity(-4, 3), "entity 1: -4:3 starts before the text; correct the offsets"),
    "fraction": (entity(13.0, 17), 'entity 1: "start" is 13.0; write a whole number of characters'),
    "bool": (entity(True, 17), 'entity 1: "start" is true; write a whole number of characters'),
    "digits in a string": (entity(13, "17"), 'entity 1: "end" is "17"; write a whole number of characters'),
    "whitespace edges": (entity(12, 17), "entity 1: 12:17 ' Lima' has whitespace at its edges; write 13:17"),
    "blank mention": (entity(12, 13), "entity 1: 12:13 ' ' is blank; remove it"),
    "blank label": (entity(13, 17, " "), "entity 1: label ' ' is blank; write a name"),
    "padded label": (entity(13, 17, "place "), "entity 1: label 'place ' has spaces around it; write 'place'"),
    "label with a line break": (entity(13, 17, "a\nb"), "entity 1: label 'a\\nb' holds a control character"),
    "label of another type": (entity(13, 17, 3), "entity 1: label 3 is not a string; write a name"),
    "entity key": (entity(13, 17, strat=1), "entity 1: unknown key 'strat'; did you mean 'start'?"),
    "entity without label": (
        {"text": "Ana", "entities": [{"start": 0, "end": 3}]},
        'entity 1: no "label"; an entity has "start", "end", "label"',
    ),
    "entity as a list": (
        {"text": "Ana", "entities": [[0, 3, "person"]]},
        'entity 1: [0, 3, "person"] is not an object; write {"start": ..., "end": ..., "label": ...}',
    ),
    "overlap": (
        {"text": "Ana Lima", "entities": [{"start": 0, "end": 8, "label": "place"}, LATER]},
        "entities 0:8 'Ana Lima' (place) and 4:8 'Lima' (place) overlap; keep one",
    ),
    "repeated entity": (
        {"text": "Ana", "entities": [{"start": 0, "end": 3, "label": "person"}] * 2},
        "entity 0:3 'Ana' (person) is given twice; remove one",
    ),
    "misspelt key": ({"text": "Ana", "entites": [], "entities": []}, "unknown key 'entites'; did you mean 'entities'?"),
    "unknown key": (
        {"text": "Ana", "entities": [], "zzz": 1},
        'unknown key \'zzz\'; a seed has "text", "entities", "spans", "id", "meta"',
    ),
    "doccano": ({"text": "Ana", "label": [[0, 3]], "entities": []}, "unknown key 'label'; this looks like doccano"),
    "no text": ({"entities": []}, 'no "text"; write lines like {"text": '),
    "text of another type": ({"text": None, "entities": []}, '"text" is null; write a string'),
    "blank text": ({"text": " \n", "entities": []}, '"text" is blank; remove the line'),
    "half a surrogate pair": (
        b'{"text": "a\\ud83d", "entities": []}',
        "\"text\" holds half of a surrogate pair ('\\ud83d') at character 1; write the whole character",
    ),
    "no entities": ({"text": "Ana"}, 'no "entities"; a text without any is written with "entities": []'),
    "entities null": ({"text": "Ana", "entities": None}, '"entities" is null; write a list'),
    "both": ({"text": "Ana", "entities": [], "spans": []}, 'both "entities" and "spans"; keep one'),
    "broken JSON": (b'{"text": "Ana" "entities": []}', "not JSON: Expecting ',' delimiter at column 16; "),
    "repeated key": (b'{"text": "a", "text": "b", "entities": []}', 'key "text" is given twice; keep one'),
    "number": (b"17", "not a JSON object; write lines like"),
    "nesting": (b'{"a": ' + b"[" * 100_000, "not readable JSON: "),
    "definition of another type": ({"label": "place", "description": 5}, '"description" is 5; write a string'),
    "definition over two lines": ({"label": "place", "description": "a\nb"}, '"description" "a\\nb" is more than'),
    "definition key": ({"label": "place", "descripton": "x"}, "unknown key 'descripton'; did you mean 'description'?"),
}  # fmt: skip


@pytest.mark.parametrize(("line", "message"), BAD_LINES.values(), ids=BAD_LINES.keys())
def test_a_bad_line_is_one_clear_message(write, line, message):
    problems = problems_of(write(ROME, line, LIMA))
    assert len(problems) == 1
    assert problems[0].startswith(f"seeds.jsonl:2: {message}")
    assert "\n" not in problems[0]


def test_broken_utf8_names_the_byte_in_the_line_and_in_the_file(write):
    path = write(b'{"text": "caf\xe9"}', LIMA)
    assert problems_of(path) == [
        "seeds.jsonl:1: 0xe9 at byte 13 of the line, 13 of the file, is not UTF-8; save the file as UTF-8"
    ]
    first = json.dumps(LIMA).encode()
    assert (
        f"byte 13 of the line, {len(first) + 1 + 13} of the file"
        in problems_of(write(first, b'{"text": "caf\xe9"}'))[0]
    )


def test_a_recorded_mention_that_agrees_and_a_score_are_fine(write):
    assert read_seeds(write(entity(13, 17, text="Lima", score=0.5), ROME)).seeds[0].spans == (Span(13, 17, "place"),)


def test_a_label_that_occurs_once_is_refused_where_it_occurs(write):
    once = {"text": "Cy saw Oslo", "entities": [{"start": 7, "end": 11, "label": "palce"}]}
    assert problems_of(write(LIMA, ROME, once)) == [
        "seeds.jsonl:3: label 'palce' occurs only here, too little to learn from; did you mean 'place'? "
        "Else annotate another, or remove it"
    ]


def test_a_mention_on_a_bad_line_counts_and_an_unreadable_line_silences_the_rule(write):
    bad = {**ROME, "unknown": 1}
    assert len(problems_of(write(LIMA, bad))) == 1
    assert len(problems_of(write(LIMA, b"{"))) == 1


def test_one_text_annotated_in_two_ways_is_refused_and_an_exact_copy_left_out(write):
    other = {**LIMA, "entities": [{"start": 0, "end": 3, "label": "place"}]}
    assert problems_of(write(LIMA, ROME, other)) == [
        "seeds.jsonl:3: same text as line 1, but annotated differently; keep one of them"
    ]
    path = write(LIMA, ROME, LIMA)
    file = read_seeds(path)
    assert [seed.text for seed in file.seeds] == [LIMA["text"], ROME["text"]]
    assert f"{path}:3: duplicate of line 1; left out" in file.warnings
    assert "label 'place' occurs only here" in problems_of(write(LIMA, LIMA))[0]


def test_a_test_file_is_taken_as_it_is(write):
    other = {**LIMA, "entities": [{"start": 0, "end": 3, "label": "person"}]}
    file = read_seeds(write(LIMA, LIMA, other, {"label": "event"}), training=False)
    assert len(file.seeds) == 3
    assert file.labels.names == ("event", "place", "person")
    assert file.warnings == ()


def test_given_definitions_come_first_and_win_and_unused_labels_are_left_out(write):
    path = write({"label": "place", "description": "from the file"}, {"label": "plase"}, LIMA, ROME)
    file = read_seeds(path, definitions=[Label("event", "unused"), Label("place", "given")])
    assert file.labels.labels == (Label("place", "given"),)
    assert (
        "label 'event' is defined, but no seed has it: left out; annotate at least two mentions to have it"
        in file.warnings
    )
    assert "label 'plase' is defined, but no seed has it: left out; did you mean 'place'?" in file.warnings


def test_a_label_defined_twice_is_refused(write):
    twice = {"label": "place", "description": "x"}
    assert problems_of(write(twice, LIMA, ROME, twice)) == [
        "seeds.jsonl:4: label 'place' is already defined on line 1; keep one definition"
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "seeds.jsonl: empty; write lines like"),
        (b"\xef\xbb\xbf\n \n", "seeds.jsonl: empty; write lines like"),
        (b'{"label": "x"}', "seeds.jsonl: only label definitions; write lines like"),
        (b'{"text": "a", "entities": []}', "seeds.jsonl: no entity in any of 1 texts; annotate some"),
        (b'[{"text": "a"}]', "seeds.jsonl: one JSON value over the whole file; write one JSON object a line"),
        (b'{\n"text": "a"\n}', "seeds.jsonl: one JSON value over the whole file; write one JSON object a line"),
        ("{}".encode("utf-16"), "seeds.jsonl: UTF-16 text; a UTF-8 text file"),
        (gzip.compress(b"{}"), "seeds.jsonl: a gzip file; a UTF-8 text file"),
    ],
)
def test_a_file_that_holds_no_seeds_is_one_message(write, data, message):
    problems = problems_of(write(data))
    assert len(problems) == 1
    assert problems[0].startswith(message)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    assert problems_of(tmp_path / "none.jsonl") == ["none.jsonl: no such file; check the path"]
    (tmp_path / "folder").mkdir()
    assert problems_of(tmp_path / "folder") == ["folder: a folder; name a file in it"]


def test_label_files_are_definition_lines_or_one_object(write):
    labels = (Label("place", "a city"), Label("person"))
    lines = write({"label": "place", "description": "a city"}, {"label": "person"})
    mapping = write(json.dumps({"place": "a city", "person": ""}, indent=1).encode(), name="labels.json")
    assert read_labels(lines) == read_labels(mapping) == labels
    assert read_labels(write({"label": "place", "description": "a city"})) == labels[:1]


def test_bad_label_files_are_refused(write):
    assert problems_of(write({"label": "a"}, LIMA), read_labels)[0].startswith("seeds.jsonl:2: no label definition; ")
    assert problems_of(write({"place": 5}), read_labels) == ['seeds.jsonl: "description" is 5; write a string']
    assert problems_of(write(b""), read_labels)[0].startswith("seeds.jsonl: empty; ")
    assert problems_of(write(b"{", b'"a": "b",', b"}"), read_labels)[0].startswith("seeds.jsonl: not JSON: ")
