"""How time grows: with the corpus, with the length of a text, with the number of labels, with the batch budget.

    python -m benchmarks.speed.growth              an hour on one core; writes results/growth.json, .md and .svg
    python -m benchmarks.speed.growth --quick      smaller on every axis, some minutes
    python -m benchmarks.speed.growth --axes corpus   one axis anew, the others as the result has them

corpus   Parquet to Parquet through the whole pipeline, a tiny base with random weights, every text another one;
         the sizes run side by side on one core
length   the same tokens in ever longer texts, through the embedded base, which reads them in chunks of 150 tokens
labels   2 to 200 labels with descriptions. Their prompt does not fit into the embedded base's 512 positions: a random
         Llama of its shape does the work, and decides as the base did (ways/replay.py)
budget   `batch_tokens` from a few texts at once to all of them, through the embedded base

What is compared is CPU time (of all threads): wall time, which is in the JSON too, doubles when another job runs.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers.utils.logging import disable_progress_bar

from nerx.adapters.config import FitConfig
from nerx.adapters.fit import fit
from nerx.engine.origin import Origin
from nerx.engine.reading.corpus import open_corpus
from nerx.engine.run import pipeline
from nerx.engine.tagging.extractor import Extractor
from nerx.engine.writing.local import LocalOutput
from nerx.engine.writing.sink import Sink

from ..lab.machine import commit, this_machine, usable_cores
from ..lab.places import FREIGHT, RESULTS
from ..lab.tiny import make_adapter, text_of
from .stopwatch import clocked
from .ways.manylabels import Labelled, labelled


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement: at `size` of the axis, `units` of work (texts or tokens) took so long."""

    size: int
    units: int
    cpu_seconds: float
    seconds: float

    @property
    def cost(self) -> float:
        """CPU milliseconds a unit."""
        return 1000 * self.cpu_seconds / self.units


@dataclass(frozen=True, slots=True)
class Axis:
    """Points along one axis. `unit` is what `cost` is counted for; `commit` and `date` say when it was measured."""

    name: str
    title: str
    unit: str
    points: tuple[Point, ...]
    commit: str = field(default_factory=commit)
    date: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Axis":
        points = tuple(Point(**point) for point in record["points"])
        return cls(points=points, **{name: record[name] for name in ("name", "title", "unit", "commit", "date")})

    @property
    def spread(self) -> float:
        """Dearest over cheapest unit, less one: 0 is exactly linear."""
        costs = [point.cost for point in self.points]
        return max(costs) / min(costs) - 1


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    disable_progress_bar()
    with tempfile.TemporaryDirectory(prefix="nerx-growth-") as folder:
        work = Path(folder)
        adapter = cache(lambda: options.adapter or fitted(work))
        makers: dict[str, Callable[[], Axis]] = {
            "corpus": lambda: corpus_axis(work, options.corpus),
            "length": lambda: length_axis(adapter(), options.lengths, options.tokens, options.repeats),
            "labels": lambda: labels_axis(adapter(), options.labels, options.texts, options.repeats),
            "budget": lambda: budget_axis(adapter(), options.budgets, options.texts, options.repeats),
        }
        axes = []
        for name in options.axes:
            axes.append(makers[name]())
            print(table(axes[-1]), flush=True)
            if options.json:
                write(options.json, kept(options.json, axes), options)


def kept(path: Path, axes: Sequence[Axis]) -> list[Axis]:
    """`axes` and, of those that the result at `path` has, the others; in the order of AXES."""
    before = json.loads(path.read_text())["axes"] if path.is_file() else []
    found = {axis.name: axis for axis in [*map(Axis.from_dict, before), *axes]}
    return [found[name] for name in AXES if name in found]


def fitted(work: Path) -> Path:
    print("fitting the freight example", file=sys.stderr)
    return fit(FitConfig(FREIGHT / "seeds.jsonl", work / "freight", device="cpu", budget="quick")).adapter


def corpus_axis(work: Path, sizes: Sequence[int]) -> Axis:
    """Parquet in, Parquet out: one process a size, all at once on one core, so that a slow minute is slow for each.

    Small corpora are run so often that every process reads as many texts; points are means.
    """
    adapter = make_adapter(work)
    for size in sizes:
        # Every n-th text of the largest corpus, and numbers of seven digits: each size has texts of the same lengths.
        rows = range(0, max(sizes), max(sizes) // size)
        texts = [f"{text_of(1_000_000 + row)} {text_of(1_000_001 + 3 * row)}" for row in rows]
        pq.write_table(pa.table({"text": texts}), work / f"{size}.parquet")
    with ProcessPoolExecutor(len(sizes), multiprocessing.get_context("spawn")) as pool:
        runs = [pool.submit(extract_often, adapter, work / f"{size}.parquet", max(sizes) // size) for size in sizes]
        points = tuple(Point(size, size, *run.result()) for size, run in zip(sizes, runs, strict=True))
    return Axis("corpus", "texts in the corpus", "text", points)


def extract_often(adapter: Path, source: Path, count: int) -> tuple[float, float]:
    """A process of `corpus_axis`: mean CPU and wall seconds of a run."""
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    extractor = Extractor.load(adapter, device="cpu")
    extractor.extract(pq.read_table(source)["text"].slice(0, 256).to_pylist())  # first calls prepare caches and kernels
    spent = [clocked(lambda: extract(extractor, source)) for _ in range(count)]
    return statistics.mean(cpu for _, cpu in spent), statistics.mean(wall for wall, _ in spent)


def extract(extractor: Extractor, source: Path) -> None:
    corpus = open_corpus([str(source)])
    out = LocalOutput(source.with_suffix(".out.parquet"))
    sink = Sink(out, corpus, Origin(extractor.digest), overwrite=True)
    pipeline.run(corpus, extractor, sink)


def length_axis(adapter: Path, lengths: Sequence[int], tokens: int, repeats: int) -> Axis:
    """As many texts of each length as `tokens` make up; what is read is about the same for all."""
    extractor = Extractor.load(adapter, device="cpu")
    points = []
    for length in lengths:
        texts = long_texts(extractor, length, max(1, tokens // length))
        best = best_of(repeats, lambda t=texts: extractor.extract(t) and None)
        points.append(Point(length, extractor.count_tokens(texts), best[1], best[0]))
    return Axis("length", "tokens in a text", "token", tuple(points))


def long_texts(extractor: Extractor, length: int, count: int) -> list[str]:
    """`count` texts of about `length` tokens: the freight corpus, read on and on, cut where the length is reached."""
    stream = " ".join(freight_texts()) + " "
    ids = extractor.model.encoder.encode_source(stream)
    while len(ids) < length * count:
        stream += stream
        ids = extractor.model.encoder.encode_source(stream)
    ends = [ids.offsets[(i + 1) * length - 1][1] for i in range(count)]
    return [stream[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def labels_axis(adapter: Path, counts: Sequence[int], texts: int, repeats: int) -> Axis:
    base = Extractor.load(adapter, device="cpu")
    sources = [base.model.encoder.encode_source(text) for text in freight_texts()[:texts]]
    points = []
    for count in counts:
        many: Labelled = labelled(base.decoder, [source for source in sources if len(source)], count)
        best = best_of(repeats, many.run)
        points.append(Point(count, len(many.sources), best[1], best[0]))
    return Axis("labels", "labels, each with a description", "text", tuple(points))


def budget_axis(adapter: Path, budgets: Sequence[int], texts: int, repeats: int) -> Axis:
    points = []
    some = freight_texts()[:texts]
    for budget in budgets:
        extractor = Extractor.load(adapter, device="cpu", batch_tokens=budget)
        best = best_of(repeats, lambda e=extractor: e.extract(some) and None)
        points.append(Point(budget, len(some), best[1], best[0]))
    return Axis("budget", "batch_tokens", "text", tuple(points))


def freight_texts() -> list[str]:
    texts: list[str] = pq.read_table(FREIGHT / "corpus.parquet")["text"].to_pylist()
    return [text for text in texts if text]


def best_of(repeats: int, work: Callable[[], None]) -> tuple[float, float]:
    """Least wall and least CPU seconds of some runs."""
    found = [clocked(work) for _ in range(repeats)]
    return min(wall for wall, _ in found), min(cpu for _, cpu in found)


def table(axis: Axis) -> str:
    lines = [f"| {axis.title} | {axis.unit}s | CPU s | CPU ms a {axis.unit} | s |", "|---:|---:|---:|---:|---:|"]
    lines += [
        f"| {point.size:,} | {point.units:,} | {point.cpu_seconds:.2f} | {point.cost:.3f} | {point.seconds:.2f} |"
        for point in axis.points
    ]
    return "\n".join([f"## {axis.name}\n", *lines, "", f"Dearest {axis.unit} over cheapest: +{axis.spread:.0%}.", ""])


def write(path: Path, axes: Sequence[Axis], options: argparse.Namespace) -> None:
    """The record, a page of tables and, from all axes, one picture."""
    machine = this_machine(("torch", "transformers", "pyarrow"))
    record = {
        "benchmark": "growth",
        "axes": [{**asdict(axis), "spread": round(axis.spread, 4)} for axis in axes],
        "threads": options.threads,
        "repeats": options.repeats,
        "machine": machine.to_dict(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
    plot(path.with_suffix(".svg"), axes)
    dates = " to ".join(sorted({axis.date for axis in axes}))
    place = f"{machine.cpu}, {options.threads} threads, best of {options.repeats} (corpus: means), {dates}"
    about = (
        f"Written by `benchmarks/speed/growth.py`, whose head says what is measured. {place}.\n\n![]("
        + path.stem
        + ".svg)\n"
    )
    path.with_suffix(".md").write_text("\n".join(["# How time grows\n", about, *map(table, axes)]))


def plot(path: Path, axes: Sequence[Axis]) -> None:
    """One panel an axis: CPU milliseconds a unit, so that a level line is linear growth."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "nerx"  # the same numbers make the same file
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(axes), figsize=(3.6 * len(axes), 3.0), squeeze=False)
    for panel, axis in zip(panels[0], axes, strict=True):
        panel.plot([point.size for point in axis.points], [point.cost for point in axis.points], marker="o")
        panel.set_xscale("log")
        panel.set_ylim(0, 1.1 * max(point.cost for point in axis.points))
        panel.set_xticks([point.size for point in axis.points], [f"{p.size:,}" for p in axis.points], rotation=45)
        panel.minorticks_off()
        panel.set_xlabel(axis.title)
        panel.set_ylabel(f"CPU ms a {axis.unit}")
        panel.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller on every axis")
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES))
    parser.add_argument("--adapter", type=Path, help="an adapter of the embedded base, in place of fitting one")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--repeats", type=int, help="times are the best of so many (3)")
    parser.add_argument("--json", type=Path, help="write the record here, page and picture beside it")
    options = parser.parse_args()
    sizes = QUICK if options.quick else FULL
    for name, value in sizes.items():
        setattr(options, name, value)
    options.repeats = options.repeats or (1 if options.quick else 3)
    if not options.quick and options.json is None:
        options.json = RESULTS / "growth.json"
    return options


AXES = ("corpus", "length", "labels", "budget")
FULL: dict[str, Any] = {
    "corpus": (1_000, 10_000, 100_000),
    "lengths": (64, 128, 256, 512, 1024, 2048, 4096),
    "tokens": 8_192,
    "labels": (2, 5, 10, 20, 50, 100, 200),
    "budgets": (512, 1024, 2048, 4096, 8192, 16384, 32768),
    "texts": 128,
}
QUICK: dict[str, Any] = {
    "corpus": (1_000, 4_000),
    "lengths": (64, 512, 2048),
    "tokens": 2_048,
    "labels": (2, 20, 100),
    "budgets": (512, 4096, 16384),
    "texts": 32,
}


if __name__ == "__main__":
    main()
