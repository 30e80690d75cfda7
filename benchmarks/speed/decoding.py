"""How fast copy-or-tag decoding is, beside the limit of one teacher-forced pass and beside other ways of generating.

    python -m benchmarks.speed.decoding            1,000 texts of three sets, an adapter fitted for each
    python -m benchmarks.speed.decoding --quick    a sample, once; the freight example where there are no sets
    python -m benchmarks.speed.decoding --device cuda --model 7b    random weights, real decisions (ways/replay.py)

Every contender writes the same outputs, those of exact decoding, for the same batches in the same run. The record goes
under its own key (`cpu`, `gpu_embedded`, `gpu_0.6b`, `gpu_7b`) into the JSON file, whose other keys stay.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from transformers.utils.logging import disable_progress_bar

from nerx.adapters.config import FitConfig
from nerx.adapters.fit import fit
from nerx.engine.tagging.loading import pick_device

from ..lab.dataset import DEFAULT_DATA, DataError
from ..lab.machine import commit, this_machine, usable_cores
from ..lab.places import RESULTS
from . import page
from .stopwatch import Timing, matrix_rate, measure
from .ways.lineup import Lineup, embedded_lineup, llama_lineup
from .work import Part, batches_of, freight_parts, load_extractors, ner_parts

PACKAGES = ("torch", "transformers", "peft", "ctranslate2")


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    disable_progress_bar()
    device = pick_device(options.device)
    parts = parts_of(options)
    with tempfile.TemporaryDirectory(prefix="nerx-decoding-") as folder:
        adapters = adapters_for(parts, options, Path(folder))
        say("loading")
        extractors = load_extractors(adapters, str(device))
        decoders = [extractor.decoder for extractor in extractors]
        batches = batches_of(parts, extractors, options.batch)
        say("deciding")
        if options.model == "embedded":
            lineup = embedded_lineup(decoders, adapters, batches, Path(folder), options.threads, options.every)
        else:
            lineup = llama_lineup(options.model, decoders, batches, options.every)
        if options.only:
            lineup = lineup.only(["limit", *options.only])
        say(f"timing {', '.join(contender.name for contender in lineup.contenders)}")
        times = measure(lineup.contenders, lineup.batches, options.repeats, said=say)
    record = {**record_of(lineup, times), **circumstances(options, parts, device)}
    key = record_key(options.model, device)
    print(page.page(key, record))
    if options.json:
        page.write(options.json, page.merged(options.json, key, record))


def record_key(model: str, device: torch.device) -> str:
    """`cpu` for the base that ships on a CPU, else the device and the model."""
    where = "gpu" if device.type == "cuda" else device.type
    return where if (where, model) == ("cpu", "embedded") else f"{where}_{model}"


def parts_of(options: argparse.Namespace) -> list[Part]:
    if options.freight or (options.quick and not options.data.is_dir()):
        return freight_parts(options.texts)
    return ner_parts(options.data, options.texts)


def adapters_for(parts: Sequence[Part], options: argparse.Namespace, folder: Path) -> list[Path]:
    """Folders of the parts' adapters: those given, else fitted now."""
    if options.adapters:
        return [options.adapters / part.name for part in parts]
    found = []
    for part in parts:
        say(f"fitting {part.name}")
        budget = "quick" if options.quick else "normal"
        config = FitConfig(part.seeds, folder / "adapters" / part.name, device=options.device, budget=budget)
        found.append(fit(config).adapter)
    return found


def record_of(lineup: Lineup, times: dict[str, Timing]) -> dict[str, Any]:
    """Seconds, multiples of the limit and rates of every contender, and what the decoder did."""
    batches = lineup.batches
    texts = sum(len(batch.sources) for batch in batches)
    answers = sum(len(answer) for batch in batches for answer in batch.answers)
    limits = {name: times[lineup.limit_of(name)] for name in times}
    rate = matrix_rate(lineup.device, lineup.dtype)
    return {
        **{f"{key}_s": round(times[key].wall, 3) if key in times else None for key in page.KEYS},
        "cpu_seconds": {name: round(time.cpu, 3) for name, time in times.items()},
        "times_the_limit": {name: round(time.wall / limits[name].wall, 2) for name, time in times.items()},
        "cpu_times_the_limit": {name: round(time.cpu / limits[name].cpu, 2) for name, time in times.items()},
        "texts_per_s": {name: round(texts / time.wall, 1) for name, time in times.items()},
        "tokens_per_s": {name: round(answers / time.wall) for name, time in times.items()},
        "texts_timed": {name: time.measured for name, time in times.items()},
        "texts": texts,
        "source_tokens": sum(len(source) for batch in batches for source in batch.sources),
        "answer_tokens": answers,
        **lineup.facts,
        "matrix_tflops": round(rate / 1e12, 3),
        "limit_matrix_share": round(lineup.operations["limit"] / times["limit"].wall / rate, 4),
        "nerx_exact_matrix_share": (
            round(lineup.operations["nerx_exact"] / times["nerx_exact"].wall / rate, 4) if "nerx_exact" in times else 0
        ),
        "contenders": {contender.name: contender.what for contender in lineup.contenders},
        "left_out": lineup.left_out,
    }


def circumstances(options: argparse.Namespace, parts: Sequence[Part], device: torch.device) -> dict[str, Any]:
    return {
        "sets": [f"{part.name} ({len(part.texts)})" for part in parts],
        "model": options.model if options.model == "embedded" else f"a random Llama of {options.model}",
        "device": torch.cuda.get_device_name() if device.type == "cuda" else this_machine().cpu,
        "threads": options.threads,
        "batch": options.batch,
        "repeats": options.repeats,
        "machine": this_machine(PACKAGES).to_dict(),
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def say(what: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {what}", file=sys.stderr, flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="48 texts, one repeat, adapters fitted quickly")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="the folder of the NER sets")
    parser.add_argument("--freight", action="store_true", help="the freight example in place of the sets")
    parser.add_argument("--adapters", type=Path, help="a folder with an adapter for each set, in place of fitting them")
    parser.add_argument("--model", choices=("embedded", "0.6b", "7b", "tiny"), default="embedded")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--texts", type=int, help="how many in all (1,000)")
    parser.add_argument("--batch", type=int, default=16, help="texts in a batch")
    parser.add_argument("--repeats", type=int, help="times are the best of so many (3)")
    parser.add_argument("--every", type=int, help="the slowest do only every so-many-th batch (4 on a CPU)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="time these alone, beside the limit")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--json", type=Path, help="write the record into this file (results/decoding.json)")
    options = parser.parse_args()
    options.texts = options.texts or (48 if options.quick else 1000)
    options.repeats = options.repeats or (1 if options.quick else 3)
    options.every = options.every or (1 if options.quick or options.device != "cpu" else 4)
    if not options.quick and options.json is None:
        options.json = RESULTS / "decoding.json"
    return options


if __name__ == "__main__":
    try:
        main()
    except DataError as error:
        sys.exit(f"{error}; without the sets, --freight times the freight example")
