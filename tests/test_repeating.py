"""What cron and many machines run: `--incremental`, `--shard`, `--retry-failed`, `--max-failures`."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from capitals import POISON, Capitals
from commands import Nerx
from grown import grow
from test_cli import running
from test_retry import extract

from nerx.engine.errors import InputError, TooManyFailuresError
from nerx.engine.run.config import FailureLimit
from nerx.engine.tagging.card import AdapterCard

LOADED = """
import sys
from nerx.cli.app import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    print(end.code, sorted({"torch", "transformers", "polars", "numpy", "pyarrow"} & set(sys.modules)))
"""


def write(path: Path, first: int, count: int = 2) -> Path:
    path.parent.mkdir(exist_ok=True)
    numbers = range(first, first + count)
    pq.write_table(pa.table({"id": numbers, "text": [f"Ada went to Rome {n} times." for n in numbers]}), path)
    return path


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    for number in range(3):
        write(tmp_path / "lake" / f"{number}.parquet", 10 * number)
    return tmp_path / "lake"


def test_a_nightly_job(nerx: Nerx, lake: Path, tiny_adapter: Path) -> None:
    command = ["extract", lake, "--adapter", tiny_adapter, "--incremental", "--noop-code", 9]
    first = nerx(*command, "--json")
    result = json.loads(first.out)
    assert (first.code, result["rows"], result["out"]) == (0, 6, str(lake.with_name("lake.nerx")))
    assert result["inputs"] == {"new": 3, "changed": 0, "renamed": 0, "unchanged": 0, "gone": [], "gone_rows": "kept"}
    nothing = nerx(*command)
    assert (nothing.code, nothing.errors) == (9, [])
    assert "lake.nerx: nothing new" in nothing.out
    assert "3 unchanged" in nothing.out
    assert json.loads(nerx(*command, "--json").out)["rows"] == 0
    write(lake / "later.parquet", 100)
    (lake / "1.parquet").unlink()
    dry = nerx(*command, "--dry-run", "--json")
    assert (dry.code, json.loads(dry.out)["rows"], json.loads(dry.out)["inputs"]["new"]) == (0, 2, 1)
    later = nerx(*command)
    assert later.code == 0
    assert "1 new, 2 unchanged, 1 gone" in later.out
    assert f"1 inputs are gone (their rows stay; --prune drops them): {lake / '1.parquet'}" in later.err
    assert pq.read_table(lake.with_name("lake.nerx")).num_rows == 8
    assert "nerx drops their rows" in nerx(*command, "--prune").err
    assert pq.read_table(lake.with_name("lake.nerx")).num_rows == 6


def test_an_option_that_changed_is_named(nerx: Nerx, lake: Path, tiny_adapter: Path) -> None:
    command = ["extract", lake, "--adapter", tiny_adapter, "--incremental", "--quiet"]
    assert nerx(*command).code == 0
    other = nerx(*command, "--min-score", 0.9)
    assert other.code == 2
    assert "options min score: 0.0 -> 0.9" in other.errors[0]
    assert "--overwrite" in other.errors[0]
    assert nerx(*command, "--min-score", 0.9, "--overwrite").code == 0
    assert nerx(*command, "--min-score", 0.9, "--noop-code", 9).code == 9


def test_nothing_new_among_a_thousand_inputs_takes_less_than_a_second_and_no_heavy_library(
    tiny_adapter: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """In processor time, and the best of five: other work on the machine is not nerx's fault."""
    lake, out, card = tmp_path / "lake", tmp_path / "out", AdapterCard.read(tiny_adapter)
    for number in range(1000):
        write(lake / f"{number:04}.parquet", 2 * number)
    made = grow(out, lake, Capitals(card.digest), base_digest=card.base_digest)
    assert made.increment.new == 1000
    long_ago = time.time() - 60
    for path in lake.iterdir():
        os.utime(path, (long_ago, long_ago))
    arguments = ["extract", lake, "--adapter", tiny_adapter, "--out", out, "--incremental", "--noop-code", "9"]
    command = [sys.executable, "-c", LOADED, *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # reads inputs whose time has changed
    processor, wall = [], []
    for _ in range(5):
        before, began = os.times(), time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        after = os.times()
        assert done.stdout.splitlines()[-1] == "9 []"
        processor.append(sum(after[2:4]) - sum(before[2:4]))
        wall.append(time.monotonic() - began)
    record_property("seconds of processor and of wall clock", (min(processor), min(wall)))
    assert min(processor) < 1, processor

    marks = {part.name: (part.stat().st_ino, part.stat().st_mtime_ns) for part in out.iterdir()}
    write(lake / "later.parquet", 10_000)
    added = grow(out, lake, Capitals(card.digest), base_digest=card.base_digest)
    assert (added.increment.new, added.texts) == (1, 2)
    now = {part.name: (part.stat().st_ino, part.stat().st_mtime_ns) for part in out.iterdir()}
    assert {name: now.get(name) for name in marks} == marks
    assert set(now) - set(marks) == {"part-01000.parquet"}


SIGNALS = [(signal.SIGTERM, 143), (signal.SIGINT, 130)]


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("options", [["--incremental"], ["--shard", "1/1"]], ids=lambda options: options[0])
def test_a_stopped_run_of_every_kind_goes_on(
    number: signal.Signals, code: int, options: list[str], nerx: Nerx, tiny_adapter: Path, tmp_path: Path
) -> None:
    source = write(tmp_path / "lake" / "in.parquet", 0, 600)
    command = ["extract", source.parent, "--adapter", tiny_adapter, "--out", tmp_path / "out", *options]
    with running(*command) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("extracting: "):
                break
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.wait() == code, rest
    assert "run the same command again" in rest
    assert not list((tmp_path / "out").glob("*"))
    done = nerx(*command, "--json")
    assert (done.code, json.loads(done.out)["rows"]) == (0, 600)
    assert 0 < json.loads(done.out)["resumed_rows"] < 600
    assert pq.read_table(tmp_path / "out").column("id").to_pylist() == list(range(600))


def test_shards_by_separate_commands_make_one_folder(nerx: Nerx, lake: Path, tiny_adapter: Path) -> None:
    command = ["extract", lake, "--adapter", tiny_adapter, "--quiet", "--json"]
    rows = [json.loads(nerx(*command, "--shard", f"{index}/2").out)["rows"] for index in (2, 1)]
    assert sorted(rows) == [3, 3] or sum(rows) == 6
    assert pq.read_table(lake.with_name("lake.nerx")).column("id").to_pylist() == [0, 1, 10, 11, 20, 21]
    again = nerx(*command, "--shard", "1/2")
    assert again.code == 2
    assert "has the parts of shard 1/2 already" in again.errors[0]


def test_failed_rows_are_retried_by_the_same_command(nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    card = AdapterCard.read(tiny_adapter)

    class Poisoned(Capitals):
        def __init__(self) -> None:
            super().__init__(card.digest)

    source = tmp_path / "in.parquet"
    pq.write_table(pa.table({"id": range(4), "text": ["Ada", f"Bob {POISON}", None, f"Eve {POISON}"]}), source)
    out = extract(source, tmp_path / "in.nerx.parquet", Poisoned(), base_digest=card.base_digest)
    command = ["extract", source, "--adapter", tiny_adapter, "--retry-failed", "--noop-code", 9]
    source.unlink()  # it is not needed
    done = nerx(*command, "--json")
    assert done.code == 0
    assert {name: json.loads(done.out)[name] for name in ("retried", "recovered", "failures", "rows")} == {
        "retried": 2,
        "recovered": 2,
        "failures": 0,
        "rows": 4,
    }
    assert pq.read_table(out).column("nerx_error").null_count == 4
    assert nerx(*command).code == 9


def test_nothing_to_retry_loads_no_model(tiny_adapter: Path, tmp_path: Path) -> None:
    extract(write(tmp_path / "in.parquet", 0), tmp_path / "in.nerx.parquet", Capitals())
    arguments = ["extract", tmp_path / "in.parquet", "--adapter", tiny_adapter, "--retry-failed"]
    command = [sys.executable, "-c", LOADED, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "no row has failed" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 ['numpy', 'pyarrow']"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--incremental", "--shard", "1/2"], "--incremental and --shard do not go together: a growing folder has one"),
        (["--incremental", "--limit", "3"], "--incremental and --limit do not go together"),
        (["--incremental", "--text-unit", "file"], "--incremental and --text-unit file do not go together"),
        (["--incremental", "--out", "a.parquet"], "--incremental needs a folder"),
        (["--retry-failed", "--overwrite"], "--retry-failed and --overwrite do not go together"),
        (["--prune"], "--prune goes with --incremental only"),
        (["--noop-code", "3"], "--noop-code goes with --incremental or --retry-failed only"),
        (["--shard", "5/4"], "--shard 5/4: the first number is from 1 to the second"),
        (["--shard", "1/4", "--out", "a.parquet"], "with --shard the output is a folder"),
        (["--max-failures", "many"], "--max-failures 'many': give a number of rows, or a share such as 5%"),
    ],
)
def test_options_that_make_no_sense(
    nerx: Nerx, lake: Path, tiny_adapter: Path, options: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(lake.parent)
    done = nerx("extract", lake, "--adapter", tiny_adapter, *options)
    assert done.code == 2
    assert message in done.errors[0]
    assert [path.name for path in lake.parent.iterdir()] == ["lake"]


@pytest.mark.parametrize(
    ("limit", "failures", "rows", "is_allowed"),
    [
        ("0", 0, 10, True),
        ("0", 1, 10, False),
        ("5", 5, 10, True),
        ("50%", 5, 10, True),
        ("50%", 6, 10, False),
        ("0.5%", 5, 1000, True),
        ("0.5%", 6, 1000, False),
        ("100%", 10, 10, True),
        ("0%", 0, 0, True),
    ],
)
def test_how_many_rows_may_fail(limit: str, failures: int, rows: int, is_allowed: bool) -> None:
    parsed = FailureLimit.parse(limit)
    if is_allowed:
        parsed.require(failures, rows)
        return
    with pytest.raises(TooManyFailuresError, match=f"{failures} rows failed, more than --max-failures {limit};"):
        parsed.require(failures, rows)


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "%", "5 %"])
def test_what_is_no_number_of_failures(text: str) -> None:
    with pytest.raises(InputError, match="--max-failures"):
        FailureLimit.parse(text)


def test_more_than_half_of_the_rows_failing_is_no_success(nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    data = pa.array([b"Ada", b"caf\xe9", b"caf\xe9"], pa.binary())
    text = pa.StringArray.from_buffers(3, data.buffers()[1], data.buffers()[2])
    pq.write_table(pa.table({"text": text}), tmp_path / "in.parquet")
    done = nerx("extract", tmp_path / "in.parquet", "--adapter", tiny_adapter)
    assert done.code == 3
    assert "2 rows failed, more than --max-failures 50%; the output is complete" in done.errors[0]
    assert pq.read_metadata(tmp_path / "in.nerx.parquet").num_rows == 3
