"""`nerx inspect`: provenance of an output, finished or not, and that --verify finds every kind of damage."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from capitals import POISON, Capitals
from commands import Nerx
from sinks import open_sink

from nerx.engine.reading.corpus import open_corpus
from nerx.engine.review.enriched import Enriched
from nerx.engine.review.verification import MOST_PROBLEMS, verify
from nerx.engine.run.pipeline import run

TEXTS = ["Ada met Bob in 北京 and 👩‍👩‍👧 Ünal", None, "", "nobody", f"{POISON} Two", *["Grace Hopper"] * 45]


def make(tmp_path: Path, name: str, *, stop_after: int | None = None) -> Path:
    """An output of 50 rows in five shards."""
    pq.write_table(pa.table({"text": pa.array(TEXTS, pa.string())}), tmp_path / "in.parquet", row_group_size=10)
    corpus = open_corpus([tmp_path / "in.parquet"], batch_rows=5, shard_rows=10)
    answers = iter([False] * (stop_after or 100) + [True])
    sink = open_sink(tmp_path / name, corpus, Capitals(), provenance={"base": "none", "base_digest": "00"})
    run(corpus, Capitals(), sink, stop=lambda: next(answers, False))
    return tmp_path / name


def rewrite(part: Path, change: Callable[[dict[str, Any]], Any] | None = None, **metadata: str | None) -> None:
    """Write a part again: its rows changed in place or dropped (where `change` says False), its metadata altered."""
    table = pq.read_table(part)
    rows = [row for row in table.to_pylist() if change is None or change(row) is not False]
    kept = {**pq.read_metadata(part).metadata}
    kept.pop(b"ARROW:schema", None)
    for name, value in metadata.items():
        kept.pop(f"nerx.{name}".encode())
        if value is not None:
            kept[f"nerx.{name}".encode()] = value.encode()
    schema = table.schema.with_metadata(kept)
    pq.write_table(pa.Table.from_pylist(rows, schema), part)


def problems(path: Path, adapter: Path | None = None) -> tuple[str, ...]:
    return verify(Enriched(path), adapter).problems


@pytest.mark.parametrize("name", ["out.parquet", "out"])
def test_a_sound_output_verifies(nerx: Nerx, tmp_path: Path, name: str) -> None:
    path = make(tmp_path, name)
    assert problems(path) == ()
    done = nerx("inspect", path, "--verify")
    assert done.code == 0
    assert "verified" in done.out
    told = json.loads(nerx("inspect", path, "--verify", "--json").out)
    assert (told["verified"]["rows"], told["verified"]["count"]) == (50, 0)
    assert told["verified"]["entities"] == told["entities"] == 2 + 2 * 45


def ada(row: dict[str, Any]) -> dict[str, Any]:
    """The first entity of the first row; a throwaway one for the others."""
    first: dict[str, Any] = (row["entities"] or [{}])[0] if row["text"] == TEXTS[0] else {}
    return first


ROW_DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "an end that is off by one": (lambda row: ada(row).update(end=4), "row 0: entity [0, 4) is not the text"),
    "a mention that is another": (lambda row: ada(row).update(text="Bob"), "row 0: entity [0, 3) is not the text"),
    "outside the text": (lambda row: ada(row).update(end=99), "row 0: entity [0, 99) is empty, out of order"),
    "empty": (lambda row: ada(row).update(end=0), "row 0: entity [0, 0) is empty"),
    "out of order": (lambda row: row["entities"] and row["entities"].reverse(), "row 0: entity"),
    "another text": (lambda row: row.update(text=f"x{row['text']}") if ada(row) else None, "row 0: entity"),
    "no label": (lambda row: ada(row).update(label=""), "row 0: entity [0, 3) has no label"),
    "no probability": (lambda row: ada(row).update(score=1.5), "row 0: entity [0, 3) has no label, or a score"),
    "an answer taken away": (lambda row: row.update(entities=None) if ada(row) else None, "row 0: has a text but"),
    "entities of nothing": (lambda row: row.update(text=None) if ada(row) else None, "row 0: has entities and no text"),
    "entities and an error": (
        lambda row: row.update(nerx_error="x") if ada(row) else None,
        "row 0: has entities and an",
    ),
    "a row too few": (lambda row: not ada(row), "out.parquet: its rows give rows 49, but 50 is stored"),
    "an entity too few": (lambda row: row["entities"] and row["entities"].pop(), "its rows give entities "),
    "another label": (lambda row: ada(row).update(label="EVEN"), "its rows give entities_per_label"),
    "another score": (lambda row: ada(row).update(score=0.99), "the scores of its rows differ"),
    "an error taken away": (
        lambda row: POISON in (row["text"] or "") and row.update(nerx_error=None),
        "its rows give failures 0",
    ),
}


@pytest.mark.parametrize(("change", "said"), ROW_DAMAGE.values(), ids=ROW_DAMAGE)
def test_each_damage_to_a_row_is_found_and_no_text_is_quoted(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    path = make(tmp_path, "out.parquet")
    rewrite(path, lambda row: change(row) is not False or ada(row) == {})
    found = problems(path)
    assert any(said in problem for problem in found), found
    assert not any(word in problem for problem in found for word in ("Ada", "Bob", "Grace"))


def test_damage_to_metadata_and_parts_is_found(tmp_path: Path) -> None:
    for name, value, said in (
        ("offset_unit", "bytes", "offset unit 'bytes'"),
        ("adapter", None, "does not say which adapter"),
        ("tally", '{"rows": 50}', "its rows give texts"),
        ("tally", None, "not an output of nerx"),
    ):
        path = make(tmp_path, "out.parquet")
        rewrite(path, **{name: value})
        assert any(said in problem for problem in problems(path)), (name, problems(path))
        path.unlink()
    folder = make(tmp_path, "out")
    rewrite(folder / "part-00002.parquet", adapter="f" * 32)
    assert "part-00002.parquet: was made with another adapter than part-00000.parquet" in problems(folder)
    (folder / "part-00001.parquet").unlink()
    assert "part-00001.parquet: missing" in problems(folder)


def test_all_problems_are_counted_and_the_first_are_told(nerx: Nerx, tmp_path: Path) -> None:
    path = make(tmp_path, "out.parquet")
    rewrite(path, lambda row: [entity.update(end=entity["end"] + 1) for entity in row["entities"] or ()] or True)
    done = nerx("inspect", path, "--verify")
    assert (done.code, done.out) == (2, "")
    assert len(done.errors) == MOST_PROBLEMS + 1
    assert done.errors[-1].endswith("and 26 more")


def test_an_unfinished_run_is_shown_as_that(nerx: Nerx, tmp_path: Path) -> None:
    path = make(tmp_path, "out.parquet", stop_after=3)
    assert not path.exists()
    done = nerx("inspect", path)
    assert done.code == 0
    assert "15 of 50 rows" in done.out
    told = json.loads(nerx("inspect", path, "--json").out)
    assert (told["kind"], told["rows"], told["manifest"]["rows"]) == ("unfinished output", 15, 50)
    assert nerx("inspect", tmp_path / "none.parquet").code == 2


def test_digests_are_compared_with_the_adapter_at_hand(nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["Ada went to Rome."]}), tmp_path / "in.parquet")
    nerx("extract", tmp_path / "in.parquet", "--adapter", tiny_adapter)
    out = tmp_path / "in.nerx.parquet"
    done = nerx("inspect", out, "--verify", "--adapter", tiny_adapter)
    assert done.code == 0
    assert "adapter folder, base" in " ".join(done.out.split())
    plain = " ".join(nerx("inspect", out).out.split())
    for name in ("base digest", "input digest", "run", "offset unit"):
        assert f"{name} " in plain
    copy = tmp_path / "copy"
    shutil.copytree(tiny_adapter, copy)
    weights = copy / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    damaged = nerx("inspect", out, "--verify", "--adapter", copy)
    assert damaged.code == 2
    assert "adapter_model.safetensors is damaged" in damaged.errors[0]
    assert "damaged" in nerx("inspect", copy, "--verify").errors[0]
    card = json.loads((tiny_adapter / "nerx.json").read_text())
    rewrite(out, adapter="f" * 64)
    other = nerx("inspect", out, "--verify", "--adapter", tiny_adapter).errors
    assert any(card["digest"] in problem and "f" * 64 in problem for problem in other)
    assert "give both" in nerx("inspect", out, "--adapter", tiny_adapter).errors[0]
