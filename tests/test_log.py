"""stderr for machines: with `--log-format json` each line is one object, whatever is said, and no text is quoted."""

import json
import logging
import warnings
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import Nerx, Outcome

from nerx.cli import console
from nerx.cli.console import LogFormat, format_in
from nerx.cli.progress import LINE_INTERVAL, Tick, _Events
from nerx.engine.tagging.extractor import Extractor


@pytest.fixture(autouse=True)
def _text_again() -> Any:
    yield
    console.log_as(LogFormat.TEXT)


def events(outcome: Outcome) -> list[dict[str, Any]]:
    """Every line of stderr, parsed."""
    lines = [json.loads(line) for line in outcome.err.splitlines()]
    for line in lines:
        assert datetime.fromisoformat(line["time"]).tzinfo is not None
        assert line["level"] in ("info", "warning", "error")
        assert line["event"]
    return lines


def test_progress_and_notes_are_events(nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["Ada went to Rome."] * 3}), tmp_path / "in.parquet")
    done = nerx("extract", tmp_path / "in.parquet", "--adapter", tiny_adapter, "--log-format", "json")
    assert done.code == 0
    told = events(done)
    stages = [event["stage"] for event in told if event["event"] == "progress"]
    assert stages == ["reading", "loading", "extracting"]
    (last,) = [event for event in told if event.get("stage") == "extracting"]
    assert (last["done"], last["total"], last["unit"], last["failures"]) == (3, 3, "rows", 0)
    assert last["rows_per_second"] > 0
    assert told[-1]["event"] == "hint"
    assert "Ada" not in done.err


def test_fit_and_eval_speak_it_too(
    nerx: Nerx, seed_file: Path, tiny_base: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    options = ["--base", tiny_base, "--out", tmp_path / "a", "--epochs", 1, "--rank", 2, "--log-format", "json"]
    trained = [event for event in events(nerx("fit", seed_file, *options)) if event.get("stage") == "training"]
    assert trained[-1]["loss"] > 0
    evaluated = events(nerx("eval", tiny_adapter, seed_file, "--log-format", "json"))
    assert [event["stage"] for event in evaluated] == ["loading", "evaluating"]


def test_quiet_leaves_only_errors(nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("Ada went to Rome.\n")
    options = ["--adapter", tiny_adapter, "--log-format", "json", "--quiet"]
    assert nerx("extract", tmp_path / "in.txt", *options).err == ""
    (error,) = events(nerx("extract", tmp_path / "in.txt", *options))
    assert (error["level"], error["event"], error["kind"], error["exit_code"]) == ("error", "error", "OutputError", 2)
    assert "exists already" in error["message"]


@pytest.mark.parametrize("format_options", [["--log-format", "json"], ["--log-format=json"]])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["extract", "a.parquet", "--lmit", "3"], "No such option: --lmit"),
        (["extract", "a.parquet", "--limit", "0"], "greater than or equal to 1"),
        (["fit"], "Missing argument"),
    ],
)
def test_wrong_usage_is_an_event(
    nerx: Nerx, format_options: Sequence[str], arguments: Sequence[str], said: str
) -> None:
    done = nerx(*arguments, *format_options)
    (error,) = events(done)
    assert (done.code, error["exit_code"], error["kind"]) == (2, 2, "UsageError")
    assert said in error["message"]


def test_the_environment_and_a_job_file_can_ask_for_it(
    nerx: Nerx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tmp_path / "job.toml"
    job.write_text('corpus = "none.parquet"\nadapter = "none"\nlog_format = "json"\n')
    told = events(nerx("run", job))
    assert (told[-1]["event"], told[-1]["kind"]) == ("error", "AdapterError")
    monkeypatch.setenv("NERX_LOG_FORMAT", "json")
    (error,) = events(nerx("view", tmp_path / "none.parquet"))
    assert error["kind"] == "CorpusError"
    assert events(nerx("nonsense"))[0]["kind"] == "UsageError"


def test_the_flag_wins_over_the_environment() -> None:
    environment = {"NERX_LOG_FORMAT": "json"}
    assert format_in(["extract", "x"], environment) is LogFormat.JSON
    assert format_in(["extract", "--log-format", "text"], environment) is LogFormat.TEXT
    assert format_in(["extract", "--log-format=json"], {}) is LogFormat.JSON
    assert format_in(["extract", "--log-format"], {}) is LogFormat.TEXT


def test_a_fault_names_places_and_no_text(
    nerx: Nerx, tiny_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a library fails with a message that quotes what it was given."""

    def quoting(_: object, texts: Sequence[str | None]) -> None:
        try:
            raise KeyError(texts[0])
        except KeyError as error:
            raise ValueError(f"cannot process {texts[0]!r}") from error

    monkeypatch.setattr(Extractor, "extract", quoting)
    (tmp_path / "in.txt").write_text("Ada Lovelace has a secret.\n")
    command = ["extract", tmp_path / "in.txt", "--adapter", tiny_adapter, "--report", tmp_path / "report.json"]
    plain = nerx(*command)
    assert plain.code == 1
    assert "in quoting" in plain.err
    assert "KeyError\n" in plain.err
    assert "ValueError" in plain.errors[-1]
    machine = nerx(*command, "--log-format", "json")
    fault = events(machine)[-1]
    assert (fault["event"], fault["kind"], fault["exit_code"]) == ("fault", "ValueError", 1)
    assert "in quoting" in fault["traceback"]
    for said in (plain.err, machine.err, (tmp_path / "report.json").read_text()):
        assert "Lovelace" not in said
    monkeypatch.setenv("NERX_DEBUG", "1")
    assert "cannot process 'Ada Lovelace" in nerx(*command).err


def test_what_libraries_say_becomes_events(capsys: pytest.CaptureFixture[str]) -> None:
    console.log_as(LogFormat.JSON)
    logging.getLogger("some.library").warning("slow\nvery %s", "slow")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    first, second = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (first["level"], first["logger"], first["message"]) == ("warning", "some.library", "slow\nvery slow")
    assert "DeprecationWarning: old" in second["message"]
    console.log_as(LogFormat.TEXT)
    logging.getLogger("some.library").warning("again")
    assert not capsys.readouterr().err.startswith("{")


def test_events_are_spaced(capsys: pytest.CaptureFixture[str]) -> None:
    now = 100.0
    shown = _Events(quiet=False, clock=lambda: now)
    for done in range(101):
        shown.show(Tick("extracting", done, 100, "rows", facts={"loss": 0.5}))
        now += LINE_INTERVAL / 20
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line.get("done", 0) for line in lines] == [0, 20, 40, 60, 80, 100]
    assert lines[1]["seconds"] == LINE_INTERVAL
    assert lines[1]["loss"] == 0.5
