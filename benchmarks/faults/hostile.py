"""100,000 hostile rows through the real `nerx extract`: crashes, rows lost, offsets that are off. All should be 0.

A tiny base with random weights reads them, since it tags wildly, whatever the text: right or wrong is not the question.

python -m benchmarks.faults.hostile [--quick] [--rows N] [--megabytes N] [--work DIR] [--json FILE]

With --work it can be stopped and started again: what is finished stays there, and the run goes on after it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import nerx

from ..lab.machine import commit, this_machine
from ..lab.places import RESULTS, TESTS

sys.path.insert(0, str(TESTS))  # the generator and the base are those of the tests

from families import make_base
from hostile import ORDINARY, assert_exact, write_hostile

RESULT = RESULTS / "hostile.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--megabytes", type=int, default=4, help="texts of a megabyte among them")
    parser.add_argument("--quick", action="store_true", help="2,000 rows, the longest of a few hundred characters")
    parser.add_argument("--json", type=Path, help=f"default: {RESULT.name} in results/; with --quick, none")
    parser.add_argument("--work", type=Path, help="a folder that is kept, so that a stopped run can go on")
    options = parser.parse_args()
    rows, megabytes = (2000, 0) if options.quick else (options.rows, options.megabytes)
    with tempfile.TemporaryDirectory() as folder:
        work = options.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        result = measure(work, rows, megabytes)
    when = {"commit": commit(), "date": datetime.now(UTC).isoformat(timespec="seconds")}
    record = {"machine": this_machine().to_dict(), **when, "megabyte_texts": megabytes, **result}
    if out := options.json or (None if options.quick else RESULT):
        out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


def measure(folder: Path, rows: int, megabytes: int) -> dict[str, object]:
    """Extract and verify in `folder`; raises AssertionError at the first row that is off."""
    source, out, report = folder / f"{rows}-{megabytes}.parquet", folder / "out.parquet", folder / "report.json"
    adapter = folder / "adapter"
    if not source.exists():  # written last: where it is, the adapter is too
        make_adapter(folder)
        write_hostile(folder / "in.tmp", rows, megabytes=megabytes).rename(source)
    extracted = (
        0 if out.exists() else command("extract", source, "--adapter", adapter, "--out", out, "--report", report)
    )
    if extracted:
        raise SystemExit(f"extract ended with {extracted}")
    counts = assert_exact(source, out)
    told = json.loads(report.read_text(encoding="utf-8"))
    return {
        **counts,
        "characters_in": told["characters_in"],
        "characters_read": told["characters_read"],
        "failures_per_kind": told["failures_per_kind"],
        "rows_lost": rows - counts["rows"],
        "extract_exit_code": extracted,
        "verify_exit_code": command("inspect", out, "--verify", "--adapter", adapter),
        "seconds": round(told["seconds"], 1),
    }


def command(*words: object) -> int:
    """Exit code of `nerx` with these arguments, in a process of its own; what it says goes to stderr."""
    run = [sys.executable, "-m", "nerx", *map(str, words)]
    return subprocess.run(run, check=False, stdout=sys.stderr).returncode


def make_adapter(folder: Path) -> Path:
    """An adapter for a base of random weights, trained for a moment."""
    base, seeds = make_base("llama", folder / "base"), folder / "seeds.jsonl"
    lines = []
    for number in range(9):
        text, label = f"{ORDINARY[number % 3]} ({number})", ("person", "place")[number % 2]
        lines.append({"text": text, "entities": [{"start": 0, "end": len(text.split()[0]), "label": label}]})
    seeds.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return nerx.fit(seeds, base=str(base), out=folder / "adapter", epochs=1, rank=2, device="cpu").adapter


if __name__ == "__main__":
    main()
