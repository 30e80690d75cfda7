"""Hostile documents through the real command: nothing breaks, every offset is exact, and each keeps to itself."""

import json
from pathlib import Path

import pytest
from commands import Nerx
from hostile import INJECTIONS, MARKERS, ORDINARY, PLANES, TROUBLE, assert_exact, hostile_texts, write_hostile

from nerx.engine.span import Span
from nerx.engine.tagging.extractor import Extractor


def extract(nerx: Nerx, adapter: Path, source: Path) -> dict[str, int]:
    """Run it, hold the output against the input; returns the counts, those of the summary among them."""
    out = source.with_name("out.parquet")
    done = nerx("extract", source, "--adapter", adapter, "--out", out, "--json", "--quiet")
    assert done.code == 0, done.err
    summary = json.loads(done.out)
    counts = assert_exact(source, out)
    for name in ("rows", "failures", "entities"):
        assert summary[name] == counts[name]
    assert summary["characters_in"] == summary["characters_read"] == counts["characters"]
    assert nerx("inspect", out, "--verify").code == 0
    return counts


def test_two_thousand_hostile_rows(nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    counts = extract(nerx, tiny_adapter, write_hostile(tmp_path / "in.parquet", 2000))
    assert (counts["rows"], counts["failures"]) == (2000, 200)
    assert counts["nulls"] > 20
    assert counts["entities"] > 1000  # so that there was something to get wrong


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_texts_of_a_megabyte(nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    counts = extract(nerx, tiny_adapter, write_hostile(tmp_path / "in.parquet", 4, megabytes=4))
    assert counts["characters"] > 3_500_000


def test_the_rows_are_what_they_should_be() -> None:
    rows = list(hostile_texts(2000))
    assert list(hostile_texts(2000)) == rows
    texts = []
    for row in rows:
        try:
            texts.append((row or b"").decode())
        except UnicodeDecodeError:
            assert row is not None
    assert len(rows) - len(texts) == 200
    assert {ord(character) >> 16 for text in texts for character in text} == set(range(PLANES))
    everything = "".join(texts)
    assert all(part in everything for part in (*INJECTIONS, *MARKERS, *TROUBLE, *ORDINARY))


def test_a_document_has_no_say_in_its_neighbours(tiny_adapter: Path) -> None:
    """The same texts alone and among hostile ones: same entities; scores may differ by rounding."""
    extractor = Extractor.load(tiny_adapter, device="cpu")
    hostile = [*INJECTIONS, *MARKERS, *TROUBLE]

    def places(texts: list[str]) -> list[tuple[tuple[int, int, str], ...]]:
        return [tuple(map(key, one.spans or ())) for one in extractor.extract(texts)]

    def key(span: Span) -> tuple[int, int, str]:
        return span.key

    alone = [places([text])[0] for text in ORDINARY]
    assert any(alone)
    for first in range(0, len(hostile), 6):
        among = places([*hostile[first : first + 3], *ORDINARY, *hostile[first + 3 : first + 6]])
        start = len(hostile[first : first + 3])
        assert among[start : start + len(ORDINARY)] == alone


def test_json_that_is_not_utf8_is_named_by_its_line(nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    """A half of a surrogate pair that is written as an escape fails its row alone: tests/test_as_written.py."""
    (tmp_path / "in.jsonl").write_bytes(b'{"text": "fine"}\n{"text": "a \xed\xa0\x80 b"}\n')
    done = nerx("extract", tmp_path / "in.jsonl", "--adapter", tiny_adapter)
    assert (done.code, done.out) == (2, "")
    assert done.errors[0].startswith(f"{tmp_path / 'in.jsonl'}:2: ")
    assert not (tmp_path / "in.nerx.parquet").exists()
