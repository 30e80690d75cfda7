"""How fast copy-or-tag decoding is: drafted against step by step, beside the limit of one teacher-forced pass.

    python benchmarks/decoding.py            all texts of the freight example, three repeats
    python benchmarks/decoding.py --quick    a sample, once

Everything runs in one process on one adapter; each time is the best of the repeats, and what counts are the ratios.
`limit` reads prompt and tagged output once, which no way of generating them can beat.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from lab.machine import commit, this_machine

from nerx.adapters.fit import FitConfig, fit
from nerx.adapters.reader import read_seeds
from nerx.engine.batching import buckets
from nerx.engine.decoder import Decoded, Decoder
from nerx.engine.extractor import Extractor
from nerx.engine.prompt import Source

FREIGHT = Path(__file__).parents[1] / "examples" / "freight"
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        adapter = (
            options.adapter
            or fit(FitConfig(FREIGHT / "seeds.jsonl", Path(folder) / "adapter", device="cpu", budget="quick")).adapter
        )
        extractor = Extractor.load(adapter, device="cpu")
    decoder = extractor.decoder
    texts = [seed.text for seed in read_seeds(FREIGHT / "gold.jsonl", training=False).seeds]
    sources = [extractor.model.encoder.encode_source(text) for text in texts]
    sources = [source.part(0, min(len(source), 150)) for source in sources if len(source)][: options.texts]
    groups = [[sources[i] for i in group] for group in buckets([len(s) for s in sources], 10**9, most=16)]
    answers = [decoder.decode(group) for group in groups]
    ways = contenders(decoder, groups, answers)
    times = {name: min(clock(way) for _ in range(options.repeats)) for name, way in ways.items()}
    record = {
        "texts": len(sources),
        "source_tokens": sum(map(len, sources)),
        "answer_tokens": sum(len(one.ids) for group in answers for one in group),
        "rounds_a_text": round(sum(one.rounds for group in answers for one in group) / len(sources), 2),
        "batch": 16,
        "threads": options.threads,
        "seconds": {name: round(seconds, 3) for name, seconds in times.items()},
        "times_the_limit": {name: round(seconds / times["limit"], 2) for name, seconds in times.items()},
        "drafted_is_faster_by": round(times["step by step"] / times["drafted"], 2),
        "machine": this_machine().to_dict(),
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    report(record)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(record, indent=1) + "\n")


def contenders(
    decoder: Decoder, groups: Sequence[Sequence[Source]], answers: Sequence[Sequence[Decoded]]
) -> dict[str, Callable[[], None]]:
    """Each way of getting, or for the limit only reading, the same tagged outputs."""
    plain = Decoder(decoder.model, decoder.head, None)

    def run(decode: Callable[[Sequence[Source]], Any]) -> Callable[[], None]:
        return lambda: [decode(group) for group in groups] and None

    return {
        "limit": lambda: [decoder.read(group, done) for group, done in zip(groups, answers, strict=True)] and None,
        "drafted": run(decoder.decode),
        "copy drafts": run(plain.decode),
        "step by step": run(lambda group: decoder.decode(group, drafts=False)),
        "drafter alone": run(decoder.draft),
    }


def clock(way: Callable[[], None]) -> float:
    began = time.perf_counter()
    way()
    return time.perf_counter() - began


def report(record: dict[str, Any]) -> None:
    print(f"{record['texts']} texts, {record['rounds_a_text']} rounds a text, batch {record['batch']}")
    for name, seconds in record["seconds"].items():
        print(f"  {name:<14} {seconds:8.2f} s  {record['times_the_limit'][name]:6.2f} x limit")
    print(f"drafted is {record['drafted_is_faster_by']} x faster than step by step")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="48 texts, one repeat")
    parser.add_argument("--adapter", type=Path, help="time this adapter instead of one fitted on the freight example")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, default=None, help="write the record here too")
    options = parser.parse_args()
    options.texts, options.repeats = (48, 1) if options.quick else (1000, 3)
    if not options.quick and options.json is None:
        options.json = RESULTS / "decoding.json"
    return options


if __name__ == "__main__":
    main()
