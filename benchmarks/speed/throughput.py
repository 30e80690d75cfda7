"""How long a fit on 5-shot seeds takes, and how many texts of 120 tokens a second its adapter reads, beside MiniLM.

    python -m benchmarks.speed.throughput            some minutes on 2 cores; writes results/speed.json and .md
    python -m benchmarks.speed.throughput --quick    fewer texts, once
    python -m benchmarks.speed.throughput --bases embedded    without smollm2, which is fetched by pip

The texts are test texts of the set, joined and cut so that each has 120 tokens of the embedded base. Batches go through
all in turn and a time is the best of the repeats for each batch, so that a noisy hour disturbs all alike; MiniLM is the
token classification of `few_shot.py`, learned from the same seeds, read as it is and under bfloat16 autocast. Threads
wait as they do in the command, spinning: on two quiet cores a fit takes 85 s so, and 139 s with
OMP_WAIT_POLICY=PASSIVE.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from transformers.utils.logging import disable_progress_bar

from nerx.adapters.config import FitConfig
from nerx.adapters.fit import fit
from nerx.engine.tagging.extractor import Extractor
from nerx.engine.tagging.loading import load_base
from nerx.engine.tagging.prompt import PromptEncoder

from ..lab.dataset import DEFAULT_DATA, Task, load_task
from ..lab.machine import commit, this_machine, usable_cores
from ..lab.places import RESULTS
from ..lab.rivals.minilm import FittedMiniLM, MiniLM
from .stopwatch import Best, clocked, keep_best

LENGTH = 120
BATCH = 32
NAMES = {"embedded": "nerx", "smollm2": "smollm2"}
"""Base -> what the table calls nerx with it."""

Read = Callable[[Sequence[str]], object]


@dataclass(frozen=True, slots=True)
class Fitted:
    """Wall and CPU seconds of a fit, and the ways of reading with what it left."""

    seconds: float
    cpu_seconds: float
    ways: dict[str, Read]


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    disable_progress_bar()
    task = load_task(options.data, options.set, 5, 0, texts=0)
    with tempfile.TemporaryDirectory(prefix="nerx-speed-") as folder:
        print("fitting", file=sys.stderr)
        fits = {NAMES[base]: fit_nerx(task, Path(folder) / base, base) for base in options.bases}
        fits["minilm"] = fit_minilm(task)
        texts = list(long_texts(task.texts, load_base(device="cpu").encoder))[: options.texts]
        ways = {name: way for fitted in fits.values() for name, way in fitted.ways.items()}
        times = measure(ways, texts, options.repeats)
    record = {
        "benchmark": "speed",
        "set": options.set,
        "seeds": len(task.seeds),
        "labels": len(task.labels),
        "texts": len(texts),
        "tokens_a_text": LENGTH,
        "fit_seconds": {name: round(one.seconds, 1) for name, one in fits.items()},
        "fit_cpu_seconds": {name: round(one.cpu_seconds, 1) for name, one in fits.items()},
        "texts_a_second": {name: round(len(texts) / wall, 2) for name, (wall, _) in times.items()},
        "texts_a_cpu_second": {name: round(len(texts) / cpu, 2) for name, (_, cpu) in times.items()},
        "threads": options.threads,
        "repeats": options.repeats,
        "machine": this_machine(("torch", "transformers", "peft")).to_dict(),
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    print(page(record))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(record, indent=1) + "\n")
        options.json.with_suffix(".md").write_text(page(record))


def fit_nerx(task: Task, adapter: Path, base: str) -> Fitted:
    assert task.seeds_path is not None
    config = FitConfig(task.seeds_path, adapter, base=base, device="cpu")
    spent = clocked(lambda: fit(config) and None)
    name = NAMES[base]
    ways: dict[str, Read] = {
        name: Extractor.load(adapter, device="cpu").extract,
        f"{name} bfloat16": Extractor.load(adapter, device="cpu", precision="bfloat16").extract,
        f"{name} int8": Extractor.load(adapter, device="cpu", precision="int8").extract,
        f"{name} fast": Extractor.load(adapter, device="cpu", mode="fast").extract,
        f"{name} fast bfloat16": Extractor.load(adapter, device="cpu", mode="fast", precision="bfloat16").extract,
    }
    return Fitted(*spent, ways)


def fit_minilm(task: Task) -> Fitted:
    fitted: list[FittedMiniLM] = []
    spent = clocked(lambda: fitted.append(MiniLM().fit(task)))
    predict = fitted[0].predictor("minilm")

    def halved(texts: Sequence[str]) -> object:
        with torch.autocast("cpu", torch.bfloat16):
            return predict(texts)

    return Fitted(*spent, {"minilm": predict, "minilm bfloat16": halved})


def long_texts(texts: Sequence[str], encoder: PromptEncoder) -> Iterator[str]:
    """`texts` joined until there are LENGTH tokens, cut there, without end while they last."""
    joined = ""
    for text in texts:
        joined = f"{joined} {text}".strip()
        source = encoder.encode_source(joined)
        if len(source) >= LENGTH:
            yield joined[: source.offsets[LENGTH - 1][1]]
            joined = ""


def measure(ways: dict[str, Read], texts: Sequence[str], repeats: int) -> dict[str, tuple[float, float]]:
    """Wall and CPU seconds of each way over all texts."""
    best: dict[str, Best] = {name: {} for name in ways}
    for read in ways.values():
        read(texts[:2])
    for repeat in range(repeats):
        for at in range(0, len(texts), BATCH):
            for name, read in ways.items():
                keep_best(best[name], at, lambda r=read, some=texts[at : at + BATCH]: r(some) and None)
        print(f"repeat {repeat + 1} of {repeats} done", file=sys.stderr)
    return {
        name: (sum(wall for wall, _ in found.values()), sum(cpu for _, cpu in found.values()))
        for name, found in best.items()
    }


def page(record: dict[str, Any]) -> str:
    """The record as Markdown."""
    machine, rates, cpu_rates = record["machine"], record["texts_a_second"], record["texts_a_cpu_second"]
    fits = [
        f"| {name} | {seconds:.0f} | {record['fit_cpu_seconds'][name]:.0f} |"
        for name, seconds in record["fit_seconds"].items()
    ]
    ways = [
        f"| {name} | {rate:.1f} | {rate / rates['minilm']:.2f} | {cpu_rates[name]:.1f} "
        f"| {cpu_rates[name] / cpu_rates['minilm']:.2f} |"
        for name, rate in rates.items()
    ]
    return "\n".join(
        [
            "# How fast on two cores\n",
            f"Written by `benchmarks/speed/throughput.py`, whose head says what is measured: {record['set']}, "
            f"{record['labels']} labels, {record['seeds']} seed texts; {record['texts']} texts of "
            f"{record['tokens_a_text']} tokens, best of {record['repeats']}. "
            f"{machine['cpu']}, {record['threads']} threads, {record['date']}.\n",
            "| fit, 5 shots | s | CPU s |\n|---|---:|---:|",
            *fits,
            "\n| extract | texts/s | x minilm | texts a CPU s | x minilm |\n|---|---:|---:|---:|---:|",
            *ways,
            "",
        ]
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="64 texts, once")
    parser.add_argument("--bases", nargs="+", choices=NAMES, default=list(NAMES), help="default: both")
    parser.add_argument("--set", default="crossner_science", help="a folder of --data")
    parser.add_argument("--texts", type=int, help="so many (256)")
    parser.add_argument("--repeats", type=int, help="times are the best of so many (3)")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder of the NER sets")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--json", type=Path, help="write the record here, the page beside it")
    options = parser.parse_args()
    options.texts = options.texts or (64 if options.quick else 256)
    options.repeats = options.repeats or (1 if options.quick else 3)
    if not options.quick and options.json is None:
        options.json = RESULTS / "speed.json"
    return options


if __name__ == "__main__":
    main()
