"""The commands at work: what goes to which stream, exit codes, and that a stopped run goes on."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import Nerx
from filelock import FileLock
from rich.console import Console
from typer.core import TyperGroup
from typer.main import get_command

from nerx.adapters.config import FitConfig
from nerx.cli.app import app
from nerx.engine.errors import InputError
from nerx.engine.run.config import default_output
from nerx.engine.tagging.card import AdapterCard

TEXTS = ["Ada went to Rome.", None, "", "   ", "The engine stood still. 😀"]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    table = pa.table(
        {
            "id": pa.array(range(5), pa.int64()),
            "text": pa.array(TEXTS, pa.large_string()),
            "at": pa.array([datetime(2026, 1, 2, tzinfo=UTC)] * 5, pa.timestamp("us", "UTC")),
            "price": pa.array([Decimal("1.50")] * 5, pa.decimal128(10, 2)),
            "kind": pa.array(["a", "b", None, "a", "b"]).dictionary_encode(),
            "tags": pa.array([["x"], [], None, ["y", None], []]),
        }
    )
    pq.write_table(table, tmp_path / "corpus.parquet")
    return tmp_path / "corpus.parquet"


def broken_text() -> pa.Table:
    """Three texts, the second of which is not UTF-8: Parquet files hold such things."""
    data = pa.array([b"Ada", b"caf\xe9", b"Rome"], pa.binary())
    text = pa.StringArray.from_buffers(3, data.buffers()[1], data.buffers()[2])
    return pa.table({"text": text})


def test_fit_shows_progress_on_stderr_and_its_result_on_stdout(
    nerx: Nerx, seed_file: Path, tiny_base: Path, tmp_path: Path
) -> None:
    out = tmp_path / "adapter"
    done = nerx("fit", seed_file, "--base", tiny_base, "--out", out, "--epochs", 1, "--rank", 2, "--dev", seed_file)
    assert done.code == 0
    assert {"person", "place"} <= set(done.out.split())
    assert str(out) in done.out.replace("\n", "")
    assert "training: " in done.err
    assert "loss " in done.err
    assert (out / "nerx.json").is_file()


def test_fit_json_is_one_line_and_quiet_is_quiet(nerx: Nerx, seed_file: Path, tiny_base: Path, tmp_path: Path) -> None:
    out = tmp_path / "adapter"
    options = ["--base", tiny_base, "--out", out, "--epochs", 1, "--rank", 2, "--device", "cpu"]
    done = nerx("fit", seed_file, *options, "--json", "--quiet")
    assert (done.code, done.err) == (0, "")
    (line,) = done.out.splitlines()
    result = json.loads(line)
    assert result["adapter"] == str(out)
    assert result["labels"] == ["person", "place"]


def test_extract_writes_beside_the_input_and_keeps_every_column(nerx: Nerx, corpus: Path, tiny_adapter: Path) -> None:
    done = nerx("extract", corpus, "--adapter", tiny_adapter)
    assert done.code == 0
    before, after = pq.read_table(corpus), pq.read_table(corpus.with_name("corpus.nerx.parquet"))
    assert after.select(before.column_names).equals(before)
    assert after.column_names == [*before.column_names, "entities", "nerx_error"]
    entities = after["entities"].to_pylist()
    assert [found is None for found in entities] == [text is None for text in TEXTS]
    assert entities[2] == []
    for text, found in zip(TEXTS, entities, strict=True):
        assert all(text is not None and text[e["start"] : e["end"]] == e["text"] for e in found or ())
    assert after["nerx_error"].null_count == 5
    assert "failed rows  0" in done.out
    assert "nerx view" in done.err


def test_the_adapter_may_come_from_the_environment(
    nerx: Nerx, corpus: Path, tiny_adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NERX_ADAPTER", str(tiny_adapter))
    assert nerx("extract", corpus).code == 0


def test_the_two_bare_lines_are_a_whole_job(
    nerx: Nerx, seed_file: Path, tiny_base: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the README, but for the base: `nerx fit seeds.jsonl`, `nerx extract corpus.parquet`."""
    monkeypatch.chdir(corpus.parent)
    assert nerx("fit", seed_file, "--base", tiny_base, "--epochs", 1, "--rank", 2).code == 0
    assert nerx("extract", "corpus.parquet").code == 0
    assert Path("corpus.nerx.parquet").is_file()


def test_extract_json_report_and_limit(nerx: Nerx, corpus: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = nerx("extract", corpus, "--adapter", tiny_adapter, "--limit", 2, "--json", "--quiet", "--report", report)
    assert (done.code, done.err) == (0, "")
    (line,) = done.out.splitlines()
    summary = json.loads(line)
    assert summary.items() <= json.loads(report.read_text()).items()
    assert (summary["rows"], summary["texts"], summary["failures"]) == (2, 1, 0)
    assert summary["characters_in"] == summary["characters_read"] == len("Ada went to Rome.")
    assert pq.read_metadata(summary["out"]).num_rows == 2


def test_a_dry_run_writes_nothing(nerx: Nerx, corpus: Path, tiny_adapter: Path) -> None:
    done = nerx("extract", corpus, "--adapter", tiny_adapter, "--dry-run", "--json")
    estimate = json.loads(done.out)
    assert (done.code, estimate["rows"], estimate["texts"]) == (0, 5, 4)
    assert estimate["tokens"] > 0
    assert [path.name for path in corpus.parent.iterdir()] == [corpus.name]


def test_min_score_leaves_out_what_is_less_probable(nerx: Nerx, corpus: Path, tiny_adapter: Path) -> None:
    done = nerx("extract", corpus, "--adapter", tiny_adapter, "--min-score", 1, "--json")
    assert json.loads(done.out)["entities"] == 0


def test_the_adapter_says_how_probable_an_entity_has_to_be(
    nerx: Nerx, corpus: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    def scores(*options: object) -> list[float]:
        assert nerx("extract", corpus, "--overwrite", "--quiet", *options).code == 0
        entities: list[float] = pq.read_table(written)["entities"].combine_chunks().flatten().field("score").to_pylist()
        return entities

    written = corpus.with_suffix(".nerx.parquet")
    every = sorted(scores("--adapter", tiny_adapter))
    bar = every[len(every) // 2]
    strict = Path(shutil.copytree(tiny_adapter, tmp_path / "strict"))
    replace(AdapterCard.read(tiny_adapter), min_score=bar).write(strict)
    probable = scores("--adapter", strict)
    assert 0 < len(probable) < len(every)
    assert min(probable) >= bar
    assert json.loads(pq.read_metadata(written).metadata[b"nerx.options"])["min_score"] == bar
    assert sorted(scores("--adapter", strict, "--min-score", 0)) == every


def test_more_failures_than_allowed_exit_with_3_after_writing(nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    pq.write_table(broken_text(), tmp_path / "in.parquet")
    command = ["extract", tmp_path / "in.parquet", "--adapter", tiny_adapter, "--overwrite"]
    assert nerx(*command).code == 0
    assert nerx(*command, "--max-failures", 1).code == 0
    done = nerx(*command, "--max-failures", 0)
    assert done.code == 3
    assert "1 rows failed, more than --max-failures 0" in done.errors[0]
    errors = pq.read_table(tmp_path / "in.nerx.parquet", columns=["nerx_error"])["nerx_error"].to_pylist()
    assert [error is not None for error in errors] == [False, True, False]


def test_an_output_in_use_exits_with_75(nerx: Nerx, corpus: Path, tiny_adapter: Path) -> None:
    with FileLock(corpus.with_name(".corpus.nerx.parquet.nerx-lock")):
        done = nerx("extract", corpus, "--adapter", tiny_adapter)
    assert done.code == 75
    assert "another run" in done.errors[0]


def test_a_fault_of_ours_exits_with_1_and_shows_no_values(
    nerx: Nerx, corpus: Path, tiny_adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        secret = "what the corpus says".upper()
        raise ZeroDivisionError(len(secret))

    monkeypatch.setattr("nerx.engine.reading.corpus.open_corpus", fails)
    done = nerx("extract", corpus, "--adapter", tiny_adapter)
    assert done.code == 1
    assert "Traceback" in done.err
    assert "fault in nerx" in done.errors[-1]
    assert "WHAT THE CORPUS SAYS" not in done.err
    assert done.out == ""


def test_eval_gives_scores_a_label(nerx: Nerx, seed_file: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    done = nerx("eval", tiny_adapter, seed_file)
    assert done.code == 0
    assert {"person", "place", "(micro)"} <= set(done.out.split())
    report = tmp_path / "scores.json"
    done = nerx("eval", tiny_adapter, seed_file, "--json", "--quiet", "--report", report)
    scores = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert scores == json.loads(report.read_text())
    assert scores["texts"] == 8
    assert list(scores["per_label"]) == ["person", "place"]


def test_inspect_tells_adapters_and_outputs_apart(nerx: Nerx, corpus: Path, tiny_adapter: Path) -> None:
    adapter = json.loads(nerx("inspect", tiny_adapter, "--json").out)
    assert (adapter["kind"], adapter["labels"][0]["name"]) == ("adapter", "person")
    assert "name of a person" in nerx("inspect", tiny_adapter).out
    nerx("extract", corpus, "--adapter", tiny_adapter)
    out = corpus.with_name("corpus.nerx.parquet")
    output = json.loads(nerx("inspect", out, "--json").out)
    assert (output["kind"], output["rows"], output["metadata"]["adapter"]) == ("output", 5, adapter["digest"])
    assert "unicode code points" in nerx("inspect", out).out


@contextmanager
def running(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "nerx", *map(str, arguments)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Jobs in the background of a script are born deaf to SIGINT, and the tests may be such a job.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


SIGNALS = [(signal.SIGTERM, 143), (signal.SIGINT, 130)]


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_stopped_run_keeps_its_work_and_goes_on(
    number: signal.Signals, code: int, nerx: Nerx, tiny_adapter: Path, tmp_path: Path
) -> None:
    rows = 600
    pq.write_table(pa.table({"text": [f"Ada met {n} people in Rome." for n in range(rows)]}), tmp_path / "in.parquet")
    command = ["extract", tmp_path / "in.parquet", "--adapter", tiny_adapter]
    with running(*command) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        for line in process.stderr:
            if line.startswith("extracting: "):
                break
        process.send_signal(number)
        rest, out = process.stderr.read(), process.stdout.read()
        assert process.wait() == code, rest
    assert out == ""
    assert "run the same command again" in rest
    assert not (tmp_path / "in.nerx.parquet").exists()
    done = nerx(*command, "--json")
    summary = json.loads(done.out)
    assert (done.code, summary["rows"]) == (0, rows)
    assert 0 < summary["resumed_rows"] < rows
    texts = pq.read_table(tmp_path / "in.nerx.parquet", columns=["text"])
    assert texts.equals(pq.read_table(tmp_path / "in.parquet"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.nerx.parquet", "in.parquet"]


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_stopped_fit_leaves_nothing(
    number: signal.Signals, code: int, seed_file: Path, tiny_base: Path, tmp_path: Path
) -> None:
    options = ["--base", tiny_base, "--out", tmp_path / "adapter", "--epochs", 500]
    with running("fit", seed_file, *options) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("training: "):
                break
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.wait() == code
    assert "no adapter was written" in rest
    assert list(tmp_path.iterdir()) == []


def test_fit_shows_the_defaults_that_fit_has() -> None:
    """The command line states them again, because its help must not load what `FitConfig` stands beside."""
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    shown = {option.name: option.default for option in group.commands["fit"].params}
    config = FitConfig(Path("seeds.jsonl"))
    for field in fields(config):
        if field.name != "seeds":
            assert shown[field.name] == getattr(config, field.name), field.name


def test_default_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.v2").mkdir()
    for given, expected in [
        ("a/corpus.parquet", "a/corpus.nerx.parquet"),
        ("corpus.jsonl.gz", "corpus.nerx.parquet"),
        ("folder.v2", "folder.v2.nerx.parquet"),
        ("folder.v2/", "folder.v2.nerx.parquet"),
    ]:
        assert default_output([given]) == Path(expected)
    for several in (["a.csv", "b.csv"], ["logs/*.csv"]):
        with pytest.raises(InputError, match="--out"):
            default_output(several)


def test_colour_only_on_a_terminal_that_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert Console(force_terminal=True).no_color
