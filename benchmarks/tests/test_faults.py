"""What trouble.py and streaming.py count with: differences that there are have to be seen."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from benchmarks.faults import page
from benchmarks.faults.kills import Kills, Place
from benchmarks.faults.scene import Compared, compare, ended, started
from benchmarks.faults.trouble import Ledger
from benchmarks.lab.curve import plot, thinned

WHOLE = pa.table({"id": [0, 1, 2], "entities": [[], [0.5], None]})


def test_an_equal_output_is_equal() -> None:
    assert compare(WHOLE, WHOLE.slice(0)) == Compared(True, 0, 0)


@pytest.mark.parametrize(
    ("rows", "found"),
    [([0, 2], Compared(False, 1, 0)), ([0, 1, 1, 2], Compared(False, 0, 1)), ([0, 2, 1], Compared(False, 0, 0))],
)
def test_rows_lost_rows_twice_and_rows_out_of_order_are_told_apart(rows: list[int], found: Compared) -> None:
    assert compare(WHOLE.take(rows), WHOLE) == found


def test_a_score_that_moved_is_seen() -> None:
    other = pa.table({"id": [0, 1, 2], "entities": [[], [0.5000001], None]})
    assert compare(other, WHOLE) == Compared(False, 0, 0)


def test_the_stage_of_a_kill_is_told_by_what_it_left(tmp_path: Path) -> None:
    place = Place(tmp_path / "out.parquet")
    assert place.stage("") == "start-up"
    place.staging.mkdir()
    (place.staging / "owner").write_text("me")
    assert place.stage("") == "extracting"
    assert place.stage("me") == "start-up"  # what is there is of the run before
    (place.staging / "part-00000.000000000.parquet.tmp").touch()
    assert place.stage("") == "publishing a part"
    (place.staging / "whole.parquet.tmp").touch()
    assert place.stage("") == "assembling"
    place.out.touch()
    assert place.stage("") == "tidying up"
    place.clear()
    place.out.touch()
    assert place.stage("") == "on its way out"


def test_a_process_group_does_not_outlive_its_block() -> None:
    child = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid)"
    with started([sys.executable, "-uc", f"{child}; import time; time.sleep(60)"]) as process:
        assert process.stdout is not None
        number = int(process.stdout.readline())
        os.kill(number, 0)
    _, alive = psutil.wait_procs([psutil.Process(number)] if psutil.pid_exists(number) else [], timeout=30)
    assert all(process.status() == psutil.STATUS_ZOMBIE for process in alive)


def test_the_last_line_and_the_result_of_a_command_are_kept() -> None:
    script = "import sys; print('{\"rows\": 3}'); print('one\\n\\nerror: two', file=sys.stderr); sys.exit(2)"
    with started([sys.executable, "-c", script]) as process:
        end = ended(process)
    assert (end.code, end.said, end.result) == (2, "error: two", {"rows": 3})


def test_what_is_counted_is_kept_and_not_counted_twice(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    counts = Kills(kills=3, runs=1, equal=1, stages={"start-up": 2, "extracting": 1}, errors=["2: error: why"])
    first = Ledger(tmp_path / "faults.json", datetime.now(UTC))
    first.put("kills", "local, file", asdict(counts))
    again = Ledger(tmp_path / "faults.json", datetime.now(UTC))
    again.once("kills", "local, file", lambda: pytest.fail("it is known"))
    assert Kills(**again.get("kills", "local, file")) == counts
    told = (tmp_path / "faults.md").read_text()
    assert "| all |  | 3 | 1 | 1 | 0 | 0 | 0 | 0 | 1 |" in told
    assert "Where they struck: start-up 2, extracting 1." in told
    assert "- 2: error: why" in told
    assert page.to_page(json.loads((tmp_path / "faults.json").read_text())["parts"]) == told


def test_a_thinned_curve_keeps_its_peak_and_its_order(tmp_path: Path) -> None:
    samples = [(at / 10, 100.0 + (at == 777) * 50) for at in range(10_001)]
    curve = thinned(samples, 400)
    assert len(curve) <= 400
    assert max(curve, key=lambda sample: sample[1]) == (77.7, 150.0)
    assert curve == sorted(curve)
    assert thinned(samples[:3], 400) == samples[:3]
    pytest.importorskip("matplotlib")
    plot({"few": samples[:3], "many": curve}, tmp_path / "plot.svg")
    assert "<svg" in (tmp_path / "plot.svg").read_text()
