"""Few-shot entity extraction: nerx and its rivals, all trained on the same seeds, judged on the same texts.

    python -m benchmarks.quality.few_shot              the committed table (hours on 2 cores; resumes where it stopped)
    python -m benchmarks.quality.few_shot --quick      a glance in under 10 minutes: one draw, 5 shots, fewer of all
    python -m benchmarks.quality.few_shot --rows spacy minilm --draws 2
    python -m benchmarks.quality.few_shot --finished   the table of what is there already; computes nothing

    nerx                   `nerx fit`; alpha 0: the decoder alone; drafter: the drafter alone; contrast 0: an ablation
    nerx zero-shot         the base without an adapter, given the labels' names; once a set, at 0 shots
    smollm2                the same with `--base smollm2`, a real LLM, and its alpha 0, drafter and zero-shot
    smollm2 unprimed       the LLM as its makers left it: no tag stage, no trained drafter
    spacy, minilm          know nothing but the seeds
    minilm fair, gliner    first go through the base's tag stage: same sets, 1.2 and 0.6 times as many rows

The tag stage of the last two takes an hour or more on one core and is done once, by this program or by
`train_rivals.py`; it is kept in `benchmarks/.cache/` and resumes where it stopped.

Strict micro-F1 on character spans, percent, mean ± sample sd over the draws. Every label is asked on every text; nobody
sees a test text before it is judged. Each finished cell is kept at once in a `.cells.jsonl`
file under everything that its score depends on (settings, versions, base, seeds, texts) and is not computed again.
Of nerx, version, base and training recipe are part of that key, but not its code: after changing code use `--fresh`,
e.g. with `--rows nerx`.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..lab.cell import Cell, CellStore
from ..lab.dataset import DEFAULT_DATA, DataError, Task, load_task
from ..lab.machine import commit, limit_threads, this_machine, usable_cores
from ..lab.places import RESULTS
from ..lab.rivals.contender import Contender, MissingRivalError
from ..lab.rivals.gliner_span import GLiNERSpan
from ..lab.rivals.minilm import MiniLM
from ..lab.rivals.minilm_fair import MiniLMFair
from ..lab.rivals.ours import Nerx, NerxSettings
from ..lab.rivals.spacy_blank import SpacyBlank
from ..lab.rivals.trial import cell_key, resume
from ..lab.rivals.unprimed import unprimed
from ..lab.rivals.zero_shot import ZeroShot
from ..lab.table import Line, markdown, summarise, to_dict

if TYPE_CHECKING:
    from nerx.adapters.config import Budget

ROWS = (
    *("nerx zero-shot", "nerx", "nerx alpha 0", "nerx drafter", "nerx contrast 0"),
    *("smollm2 zero-shot", "smollm2", "smollm2 alpha 0", "smollm2 drafter", "smollm2 unprimed"),
    *("spacy", "minilm", "minilm fair", "gliner"),
)
SETS = ("wnut17", "mit_movie", "crossner_science", "sec_fin", "tasteset")
LEGEND = "\n\n".join((__doc__ or "").split("\n\n")[2:4])
"""What the rows are, for the Markdown page: the two paragraphs above that say so."""

QUICK_ROWS, QUICK_SETS = tuple(row for row in ROWS[:-2] if "smollm2" not in row), SETS[:3]
"""Without the rivals that have a tag stage to go through first, and without the base that has to be fetched."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to compute and where to keep it. `texts` judged per set, 0 for all; `draws` counts from draw 0.

    `tokens`: how much the rivals that go through the base's tag stage read there, 0 for what each does by default.
    """

    rows: tuple[str, ...]
    sets: tuple[str, ...]
    shots: tuple[int, ...]
    draws: int
    texts: int
    budget: "Budget"
    base: str
    tokens: int
    device: str
    threads: int
    data: Path
    cells: Path
    json: Path
    fresh: bool
    finished: bool

    def tasks(self) -> Iterator[Task]:
        """Draws outermost: an interrupted run leaves whole columns, each with fewer draws."""
        if any(not contender.seeded for contender in self.contenders()):
            yield from (load_task(self.data, name, 0, 0, texts=self.texts) for name in self.sets)
        for draw, shots, name in itertools.product(range(self.draws), self.shots, self.sets):
            yield load_task(self.data, name, shots, draw, texts=self.texts)

    def contenders(self) -> list[Contender]:
        """Those that answer for at least one of the rows."""
        known: list[Contender] = [
            ZeroShot(self.base, self.device),
            Nerx(NerxSettings(base=self.base, budget=self.budget, device=self.device)),
            Nerx(NerxSettings(base=self.base, budget=self.budget, device=self.device, contrast=0.0)),
            *self.language_models(),
            SpacyBlank(),
            MiniLM(),
            MiniLMFair(self.data, self.tokens),
            GLiNERSpan(self.data, self.tokens),
        ]
        return [contender for contender in known if set(contender.rows) & set(self.rows)]

    def language_models(self) -> list[Contender]:
        """The rows of `smollm2`. Extraction is in bfloat16 where the processor has it: they would take days."""
        from nerx.adapters.kernels import takes_bfloat16
        from nerx.engine.tagging.loading import pick_device

        if not any(row.startswith("smollm2") for row in self.rows):
            return []
        half = takes_bfloat16("auto", pick_device(self.device))
        settings = NerxSettings(
            base="smollm2", budget=self.budget, device=self.device, precision="bfloat16" if half else "auto"
        )
        found: list[Contender] = [
            ZeroShot("smollm2", self.device, "smollm2", settings.precision),
            Nerx(settings, "smollm2"),
        ]
        if "smollm2 unprimed" in self.rows:
            found.append(Nerx(replace(settings, base=str(unprimed())), "smollm2 unprimed", [""]))
        return found


def main() -> None:
    plan = parse(sys.argv[1:])
    limit_threads(plan.threads)
    started = time.perf_counter()
    try:
        cells = list(race(plan, CellStore(plan.cells, fresh=plan.fresh)))
    except (DataError, MissingRivalError) as error:
        sys.exit(f"few_shot: {error}")
    lines = summarise(cells, plan.rows, plan.sets, (0, *plan.shots))
    print(markdown(lines, plan.sets))
    write(plan, cells, lines, seconds=time.perf_counter() - started)


def race(plan: Plan, store: CellStore) -> Iterator[Cell]:
    """Every cell of the plan: from the store where it is there, else computed and put there."""
    contenders = plan.contenders()
    for contender in contenders:
        for row in contender.rows:
            contender.settings(row)  # a package that is missing is told now, not after hours of fits
    for task, contender in itertools.product(plan.tasks(), contenders):
        if contender.seeded != bool(task.shots):
            continue
        rows = [row for row in contender.rows if row in plan.rows]
        if plan.finished:
            yield from filter(None, (store.get(cell_key(contender, row, task)) for row in rows))
            continue
        yield from resume(store, contender, rows, task, threads=plan.threads, done=log)


def log(cell: Cell) -> None:
    key = cell.key
    print(
        f"{key.dataset} {key.shots}-shot draw {key.draw} {key.row}: F1 {cell.f1:.1f} (P {cell.precision:.1f} "
        f"R {cell.recall:.1f}), fit {cell.fit_seconds:.0f} s, extract {cell.extract_seconds:.1f} s",
        file=sys.stderr,
        flush=True,
    )


def write(plan: Plan, cells: Sequence[Cell], lines: Sequence[Line], *, seconds: float) -> None:
    """The JSON file of the plan and, beside it, the same as Markdown."""
    machine = this_machine()
    document: dict[str, Any] = {
        "benchmark": "few_shot",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine.to_dict(),
        "cell_cpus": sorted({cell.cpu for cell in cells}),
        "cell_threads": {row: sorted({cell.threads for cell in cells if cell.key.row == row}) for row in plan.rows},
        "cell_commits": sorted({cell.commit for cell in cells if cell.key.row.startswith("nerx")}),
        "commit": commit(),
        "draws": plan.draws,
        "texts": plan.texts or "all",
        "seeds": {f"{task.dataset}_{task.shots}_{task.draw}": len(task.seeds) for task in plan.tasks() if task.shots},
        "settings": {cell.key.row: dict(cell.key.settings) for cell in cells},
        "cell_seconds": round(sum(cell.fit_seconds + cell.extract_seconds for cell in cells)),
        "run_seconds": round(seconds),
        **to_dict(lines),
    }
    plan.json.parent.mkdir(parents=True, exist_ok=True)
    plan.json.write_text(json.dumps(document, indent=1) + "\n")
    page = plan.json.with_suffix(".md")
    page.write_text(to_page(document, markdown(lines, plan.sets)))
    print(f"written: {plan.json}, {page}", file=sys.stderr)


def to_page(document: dict[str, Any], table: str) -> str:
    """The Markdown page: the table, then all that one has to know to read it."""
    machine, seeds = document["machine"], document["seeds"]
    counts: dict[str, list[int]] = {}
    for name, count in seeds.items():
        counts.setdefault(name.rpartition("_")[0], []).append(count)
    seed_counts = ", ".join(f"{name} {min(found)}-{max(found)}" for name, found in counts.items())
    versions = ", ".join(f"{package} {version}" for package, version in machine["versions"].items())
    threads = ", ".join(
        f"{row} {'/'.join(map(str, found))}" for row, found in document["cell_threads"].items() if found
    )
    settings = "".join(
        f"- {row}: {', '.join(f'{name} {value}' for name, value in chosen.items())}\n"
        for row, chosen in document["settings"].items()
    )
    return f"""# Few-shot entity extraction

{LEGEND}

Strict micro-F1 on character spans, percent: mean ± sample sd over {document["draws"]} draws of the seeds, in brackets
over how many where they are fewer; `mean` is over the sets.
Judged on {document["texts"]} test texts a set, the same for every row; every label is asked of each.

{table}
`fit s` is wall time, `cpu s` the CPU time of the fit (unmoved by what else ran on the machine), both a mean over cells.

- date: {document["date"]}, commit {document["commit"] or "unknown"}
- machine: {machine["cpu"]}, {machine["cores"]} cores, {machine["system"]}, Python {machine["python"]}; {versions}
- measured on: {", ".join(document["cell_cpus"])}; threads: {threads}
- nerx's rows measured at commit: {", ".join(document["cell_commits"]) or "none"}
- seed texts (least to most of the draws): {seed_counts}
- all cells together {document["cell_seconds"]} s, this run {document["run_seconds"]} s

Settings, chosen for the rivals by `tune_rivals.py` on sets that this table does not hold:

{settings}"""


def parse(arguments: Sequence[str]) -> Plan:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="1 draw, 5 shots, 100 texts, budget quick, own results")
    parser.add_argument("--rows", nargs="+", choices=ROWS, metavar="ROW", help=f"of: {', '.join(ROWS)}")
    parser.add_argument("--sets", nargs="+", metavar="SET", help=f"folders of --data; default: {' '.join(SETS)}")
    parser.add_argument("--shots", nargs="+", type=int, choices=(5, 20), help="default: 5 20", metavar="K")
    parser.add_argument("--draws", type=int, choices=range(1, 6), help="default: 5", metavar="N")
    parser.add_argument("--texts", help="test texts a set, or `all`; default: 500", metavar="N")
    parser.add_argument("--budget", choices=("quick", "normal", "thorough"), help="nerx fit's; default: normal")
    parser.add_argument("--base", default="embedded", help="nerx's base: a folder or hub id")
    parser.add_argument("--tokens", type=float, help="of the rivals' tag stage; default: their own", metavar="N")
    parser.add_argument("--device", default="auto", help="nerx's device; the rivals stay on CPU")
    parser.add_argument("--threads", type=int, default=usable_cores(), metavar="N")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder of the NER sets")
    parser.add_argument("--cells", type=Path, help="finished cells; default: in results/", metavar="FILE")
    parser.add_argument("--json", type=Path, help="result, with a .md beside it; default: in results/", metavar="FILE")
    parser.add_argument("--fresh", action="store_true", help="compute every cell anew")
    parser.add_argument(
        "--finished", action="store_true", help="compute nothing: the table of the cells that are there"
    )
    chosen = parser.parse_args(arguments)
    quick, stem = chosen.quick, "few_shot.quick" if chosen.quick else "few_shot"
    texts = chosen.texts or ("100" if quick else "500")
    if texts != "all" and not texts.isdigit():
        parser.error(f"--texts {texts}: give a number or `all`")
    return Plan(
        rows=tuple(row for row in ROWS if row in (chosen.rows or (QUICK_ROWS if quick else ROWS))),
        sets=tuple(chosen.sets or (QUICK_SETS if quick else SETS)),
        shots=tuple(chosen.shots or ((5,) if quick else (5, 20))),
        draws=chosen.draws or (1 if quick else 5),
        texts=0 if texts == "all" else int(texts),
        budget=chosen.budget or ("quick" if quick else "normal"),
        base=chosen.base,
        tokens=round(chosen.tokens or 0),
        device=chosen.device,
        threads=chosen.threads,
        data=chosen.data,
        cells=chosen.cells or RESULTS / f"{stem}.cells.jsonl",
        json=chosen.json or RESULTS / f"{stem}.json",
        fresh=chosen.fresh,
        finished=chosen.finished,
    )


if __name__ == "__main__":
    main()
