"""Where the time of `nerx extract` goes: Parquet in, Parquet out, on a CPU.

    python -m benchmarks.speed.profile_extract            1,000 texts; writes results/profile_extract.json and .md
    python -m benchmarks.speed.profile_extract --quick    a sample

The real pipeline runs in this process, with a clock around the calls that each kind of work passes through; time in an
inner call counts for the inner one alone. `model` is forward passes, scores and the drafter; `walk` is all that no
other kind claims: drafts, acceptance, batching, settling entities.
"""

import argparse
import functools
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers.utils.logging import disable_progress_bar

from nerx.adapters.config import FitConfig
from nerx.adapters.fit import fit
from nerx.engine.origin import Origin
from nerx.engine.reading.corpus import Corpus, open_corpus
from nerx.engine.run import pipeline
from nerx.engine.run.summary import RunSummary
from nerx.engine.tagging import drafter, model, prompt, slots
from nerx.engine.tagging.extractor import Extractor
from nerx.engine.writing import sink, writer
from nerx.engine.writing.local import LocalOutput

from ..lab.dataset import DEFAULT_DATA
from ..lab.machine import commit, this_machine, usable_cores
from ..lab.places import FREIGHT, RESULTS
from .work import ner_parts

CLOCKED: tuple[tuple[Any, str, str], ...] = (
    (model.LanguageModel, "states", "model"),
    (model.LanguageModel, "score", "model"),
    (drafter.Drafter, "forward", "model"),
    (slots.Slots, "__init__", "cache"),
    (slots.Slots, "keep", "cache"),
    (slots.Slots, "reject", "cache"),
    (slots.Slots, "extend", "cache"),
    (prompt.PromptEncoder, "encode_source", "tokenise"),
    (prompt, "chunk", "tokenise"),
    (Corpus, "texts", "read"),
    (Corpus, "text_array", "read"),
    (writer.ShardWriter, "add", "write"),
    (writer.ShardWriter, "checkpoint", "write"),
    (sink.Sink, "finish", "write"),
)
"""Owner, attribute, the kind of work that its calls are."""

KINDS = ("model", "walk", "cache", "tokenise", "read", "write")


class Profile:
    """Wall and CPU seconds by kind; a stack keeps an inner call's time from its outer one."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = defaultdict(float)
        self.cpu: dict[str, float] = defaultdict(float)
        self._stack: list[str] = []
        self._since = 0.0, 0.0

    @contextmanager
    def of(self, kind: str) -> Iterator[None]:
        self._turn()
        self._stack.append(kind)
        try:
            yield
        finally:
            self._turn()
            self._stack.pop()

    def clocking(self, work: Callable[..., Any], kind: str) -> Callable[..., Any]:
        @functools.wraps(work)
        def clocked(*args: Any, **options: Any) -> Any:
            with self.of(kind):
                return work(*args, **options)

        return clocked

    def _turn(self) -> None:
        """Books the time since the last turn on what was going on."""
        now = time.perf_counter(), time.process_time()
        if self._stack:
            self.wall[self._stack[-1]] += now[0] - self._since[0]
            self.cpu[self._stack[-1]] += now[1] - self._since[1]
        self._since = now


@contextmanager
def clocks(profile: Profile) -> Iterator[None]:
    """The attributes of CLOCKED, and the reading of batches, under `profile`'s clock."""
    with ExitStack() as undo:
        for owner, name, kind in CLOCKED:
            original = getattr(owner, name)
            setattr(owner, name, profile.clocking(original, kind))
            undo.callback(setattr, owner, name, original)
        batches = Corpus.batches
        undo.callback(setattr, Corpus, "batches", batches)

        def clocked_batches(self: Corpus, shard: Any) -> Iterator[Any]:
            going = batches(self, shard)
            while True:
                with profile.of("read"):
                    batch = next(going, None)
                if batch is None:
                    return
                yield batch

        setattr(Corpus, "batches", clocked_batches)  # noqa: B010
        yield


def main() -> None:
    imported = time.time() - psutil.Process().create_time(), time.process_time()
    options = parse()
    torch.set_num_threads(options.threads)
    disable_progress_bar()
    with tempfile.TemporaryDirectory(prefix="nerx-profile-") as folder:
        work = Path(folder)
        source, what = write_corpus(work / "corpus.parquet", options)
        adapter = options.adapter or fitted(work)
        profile, before = Profile(), (time.perf_counter(), time.process_time())
        loaded = Extractor.load(adapter, device="cpu")
        after = time.perf_counter(), time.process_time()
        with clocks(profile), profile.of("walk"):
            summary = extract(loaded, source)
    start = tuple(imported[i] + after[i] - before[i] for i in (0, 1))
    record = record_of(profile, start, summary, what, options)
    print(page(record))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(record, indent=1) + "\n")
        options.json.with_suffix(".md").write_text(page(record))


def write_corpus(path: Path, options: argparse.Namespace) -> tuple[Path, str]:
    """A Parquet file of texts: those of the NER sets where they are, else the freight example's."""
    if options.data.is_dir():
        parts = ner_parts(options.data, options.texts)
        texts = [seed.text for part in parts for seed in part.texts]
        pq.write_table(pa.table({"id": range(len(texts)), "text": texts}), path)
        return path, ", ".join(part.name for part in parts)
    pq.write_table(pq.read_table(FREIGHT / "corpus.parquet").slice(0, options.texts), path)
    return path, "freight"


def fitted(work: Path) -> Path:
    print("fitting the freight example", file=sys.stderr)
    return fit(FitConfig(FREIGHT / "seeds.jsonl", work / "freight", device="cpu", budget="quick")).adapter


def extract(loaded: Extractor, source: Path) -> RunSummary:
    corpus = open_corpus([str(source)])
    target = sink.Sink(LocalOutput(source.with_suffix(".out.parquet")), corpus, Origin(loaded.digest))
    return pipeline.run(corpus, loaded, target)


def record_of(
    profile: Profile, start: tuple[float, ...], summary: RunSummary, what: str, options: argparse.Namespace
) -> dict[str, Any]:
    wall, cpu = sum(profile.wall.values()), sum(profile.cpu.values())
    return {
        "benchmark": "profile_extract",
        "rows": summary.rows,
        "texts_from": what,
        "entities": summary.entities,
        "wall_seconds": {kind: round(profile.wall[kind], 3) for kind in KINDS},
        "cpu_seconds": {kind: round(profile.cpu[kind], 3) for kind in KINDS},
        "wall_share": {kind: round(profile.wall[kind] / wall, 4) for kind in KINDS},
        "cpu_share": {kind: round(profile.cpu[kind] / cpu, 4) for kind in KINDS},
        "start_wall_seconds": round(start[0], 2),
        "start_cpu_seconds": round(start[1], 2),
        "threads": options.threads,
        "machine": this_machine(("torch", "transformers", "pyarrow")).to_dict(),
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def page(record: dict[str, Any]) -> str:
    machine = record["machine"]
    lines = [
        "# Where the time of `nerx extract` goes\n",
        f"Written by `benchmarks/speed/profile_extract.py`: {record['rows']:,} texts of {record['texts_from']}, "
        f"Parquet to Parquet, {machine['cpu']}, {record['threads']} threads, {record['date']}.\n",
        "| kind | s | share | CPU s | share |\n|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {kind} | {record['wall_seconds'][kind]:.2f} | {record['wall_share'][kind]:.1%} "
        f"| {record['cpu_seconds'][kind]:.2f} | {record['cpu_share'][kind]:.1%} |"
        for kind in KINDS
    ]
    start = f"{record['start_wall_seconds']} s ({record['start_cpu_seconds']} of CPU)"
    return "\n".join([*lines, "", f"Before that, {start} to import and to load the model, once a run.", ""])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="120 texts")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="the folder of the NER sets")
    parser.add_argument("--adapter", type=Path, help="profile this adapter in place of one fitted now")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--json", type=Path, help="write the record here, the page beside it")
    options = parser.parse_args()
    options.texts = 120 if options.quick else 1000
    if not options.quick and options.json is None:
        options.json = RESULTS / "profile_extract.json"
    return options


if __name__ == "__main__":
    main()
