"""How the rivals' settings were chosen: on development splits of sets that no table of ours uses.

    python -m benchmarks.quality.tune_rivals [--quick] [--rival spacy|minilm] [--data DIR] [--json FILE]
    python -m benchmarks.quality.tune_rivals --rival 'minilm fair' --rival gliner

Tries every candidate below on draw 0 of the 5-shot and 20-shot seeds of two sets, prints mean strict F1 and fit
seconds, and writes both. The sets are `wikigold` and `crossner_ai`; for the rivals with a tag stage, which have seen
those, `gum` and `few_tk`, which nothing here is trained on. The defaults of `SpacySettings`,
`MiniLMSettings`, `minilm_fair.SEED_STAGE` and `GLiNERSettings` follow from it.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..lab.cell import Cell, CellStore
from ..lab.dataset import DEFAULT_DATA, Task, load_task
from ..lab.machine import this_machine, usable_cores
from ..lab.places import RESULTS
from ..lab.rivals.contender import Contender
from ..lab.rivals.gliner_span import GLiNERSettings, GLiNERSpan
from ..lab.rivals.minilm import MiniLM, MiniLMSettings
from ..lab.rivals.minilm_fair import MiniLMFair
from ..lab.rivals.spacy_blank import SpacyBlank, SpacySettings
from ..lab.rivals.trial import resume

RESULT = RESULTS / "tune_rivals.json"
CELLS = RESULT.with_suffix(".cells.jsonl")
SETS = {
    **dict.fromkeys(("spacy", "minilm"), ("wikigold", "crossner_ai")),
    **dict.fromkeys(("minilm fair", "gliner"), ("gum", "few_tk")),
}
SHOTS = (5, 20)
TEXTS = 100


def candidates(rival: str, data: Path) -> list[Contender]:
    """What is tried for the row `rival`."""
    if rival == "spacy":
        pairs = itertools.product((20, 40, 80), (0.1, 0.35))
        return [SpacyBlank(SpacySettings(epochs=epochs, dropout=dropout)) for epochs, dropout in pairs]
    if rival == "minilm":
        rates = ((2e-4, 200), (2e-4, 400), (4e-4, 200), (1e-4, 200))
        return [MiniLM(MiniLMSettings(rate=rate, head_rate=1e-3, steps=steps, batch=4)) for rate, steps in rates]
    if rival == "minilm fair":
        rates = ((2e-4, 200), (1e-4, 200), (5e-5, 200), (1e-4, 400), (2e-4, 400))
        return [MiniLMFair(data, settings=MiniLMSettings(rate=rate, steps=steps)) for rate, steps in rates]
    pairs = ((1e-4, 5e-4), (2e-4, 1e-3), (5e-5, 2e-4))
    return [GLiNERSpan(data, settings=GLiNERSettings(rate=rate, head_rate=head_rate)) for rate, head_rate in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rival", choices=sorted(SETS), action="append", help="default: spacy and minilm")
    parser.add_argument("--quick", action="store_true", help="one set, 5 shots, the first two candidates")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--json", type=Path, help=f"default: {RESULT.name} in results/; with --quick, none")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--fresh", action="store_true", help="compute every cell anew")
    options = parser.parse_args()
    _limit_threads(options.threads)

    count, shots, first = (1, SHOTS[:1], 2) if options.quick else (None, SHOTS, None)
    started = time.perf_counter()
    store = CellStore(CELLS, fresh=options.fresh)
    tried = []
    for rival in options.rival or ("minilm", "spacy"):
        for contender in candidates(rival, options.data)[:first]:
            cells = [
                cell
                for name, shot in itertools.product(SETS[rival][:count], shots)
                for cell in resume(store, contender, contender.rows, _task(options.data, name, shot),
                                   threads=options.threads)
            ]  # fmt: skip
            tried.append(_summary(rival, contender, cells))
            print(_line(tried[-1]), flush=True)

    out = options.json or (None if options.quick else RESULT)
    if out:
        _write(out, tried, time.perf_counter() - started)


def _task(data: Path, dataset: str, shots: int) -> Task:
    return load_task(data, dataset, shots, 0, texts=TEXTS, split="dev")


def _limit_threads(threads: int) -> None:
    import torch

    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)


def _summary(rival: str, contender: Contender, cells: list[Cell]) -> dict[str, Any]:
    return {
        "rival": rival,
        "settings": dict(contender.settings(rival)),
        "mean_f1": statistics.mean(cell.f1 for cell in cells),
        "fit_cpu_seconds": statistics.mean(cell.fit_cpu_seconds for cell in cells),
        "f1": {f"{cell.key.dataset}_{cell.key.shots}": cell.f1 for cell in cells},
    }


def _line(tried: dict[str, Any]) -> str:
    scores = "  ".join(f"{name} {f1:.1f}" for name, f1 in tried["f1"].items())
    settings = {key: value for key, value in tried["settings"].items() if not isinstance(value, str)}
    fit = f"fit {tried['fit_cpu_seconds']:.0f} s"
    return f"{tried['rival']}: mean {tried['mean_f1']:.1f}, {fit} | {scores} | {settings}"


def _write(out: Path, tried: list[dict[str, Any]], seconds: float) -> None:
    """Keeps what the file already says of rivals that this run did not try."""
    kept = json.loads(out.read_text())["tried"] if out.is_file() else []
    now = {entry["rival"] for entry in tried}
    document = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": asdict(this_machine()),
        "texts": TEXTS,
        "seconds": round(seconds),
        "tried": [entry for entry in kept if entry["rival"] not in now] + tried,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=1) + "\n")
    print(f"written: {out}", file=sys.stderr)


if __name__ == "__main__":
    main()
