"""Does drafting change what is found? Drafted decoding beside step-by-step decoding, on a real language model.

    python -m benchmarks.quality.exactness                    smollm2; 16 texts in float32, 300 in bfloat16
    python -m benchmarks.quality.exactness --base embedded
    python -m benchmarks.quality.exactness --quick            16 texts in bfloat16 too

The texts are those of the freight example, its labels with their definitions; the base reads them without an adapter.
Step by step means one decision a pass, without any draft. A text differs when one of its spans or labels does. Scores
are compared where all spans of a text agree. In float32 both have to be the same; in bfloat16 a pass over more tokens
rounds otherwise, which can turn a decision that was nearly even.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from nerx.adapters.reader import read_seeds
from nerx.engine.bases.find import find_base
from nerx.engine.tagging.decoder import Decoded, Decoder
from nerx.engine.tagging.loading import load_base, load_drafter
from nerx.engine.tagging.prompt import SourceTokens

from ..lab.machine import commit, limit_threads, this_machine, usable_cores
from ..lab.places import FREIGHT, RESULTS

BATCH = 16
TEXTS = {"float32": 16, "bfloat16": 300}
LONGEST = 150
"""Source tokens of a text; a longer one is cut."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two ways of decoding the same texts."""

    precision: str
    texts: int
    spans: int
    texts_that_differ: int
    largest_score_difference: float
    drafted_seconds: float
    step_by_step_seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--base", default="smollm2", help="name or folder of a primed base")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=usable_cores(), metavar="N")
    parser.add_argument("--json", type=Path, help="default: in results/", metavar="FILE")
    options = parser.parse_args()
    limit_threads(options.threads)
    texts = freight_texts()
    found = []
    for precision, count in TEXTS.items():
        found.append(compare(options.base, precision, texts[: min(count, 16) if options.quick else count]))
        print(json.dumps(asdict(found[-1])), file=sys.stderr, flush=True)
    record = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": this_machine().to_dict(),
        "commit": commit(),
        "threads": options.threads,
        "comparisons": [asdict(one) for one in found],
    }
    path = options.json or RESULTS / ("exactness.quick.json" if options.quick else "exactness.json")
    document: dict[str, Any] = {"benchmark": "exactness"}
    if path.is_file():
        document = json.loads(path.read_text())
    document[options.base] = record
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(table(found))


def freight_texts() -> list[str]:
    """Every text of the example that is not blank, the longest first, so that any first few are long ones."""
    column = pq.read_table(FREIGHT / "corpus.parquet", columns=["text"])["text"].to_pylist()
    return sorted({text for text in column if text and text.strip()}, key=lambda text: (-len(text), text))


def compare(base: str, precision: Any, texts: Sequence[str]) -> Comparison:
    """Decode `texts` twice with a base that has learned nothing of them."""
    model = load_base(base, device="cpu", precision=precision)
    drafter = load_drafter(find_base(base), model.width)
    if drafter is None:
        sys.exit(f"exactness: base {base} has no drafter; give a primed one")
    labels = read_seeds(FREIGHT / "seeds.jsonl").labels
    decoder = Decoder(model, model.encoder.encode_head(labels), drafter.to(dtype=model.dtype))
    sources = [model.encoder.encode_source(text) for text in texts]
    sources = [source.part(0, LONGEST) if len(source) > LONGEST else source for source in sources]
    drafted, fast = decode(decoder, sources, drafts=True)
    stepped, slow = decode(decoder, sources, drafts=False)
    same = [_spans(one) == _spans(other) for one, other in zip(drafted, stepped, strict=True)]
    differences = [
        abs(score - other)
        for agree, one, two in zip(same, drafted, stepped, strict=True)
        if agree
        for (_, score), (_, other) in zip(one.spans, two.spans, strict=True)
    ]
    return Comparison(
        precision,
        len(sources),
        sum(len(one.spans) for one in stepped),
        same.count(False),
        max(differences, default=0.0),
        round(fast, 2),
        round(slow, 2),
    )


def decode(decoder: Decoder, sources: Sequence[SourceTokens], *, drafts: bool) -> tuple[list[Decoded], float]:
    """In batches; also the seconds."""
    began = time.perf_counter()
    found: list[Decoded] = []
    for start in range(0, len(sources), BATCH):
        found += decoder.decode(sources[start : start + BATCH], drafts=drafts)
    return found, time.perf_counter() - began


def _spans(decoded: Decoded) -> list[Any]:
    return [span for span, _ in decoded.spans]


def table(found: Sequence[Comparison]) -> str:
    lines = [
        "| precision | texts | spans | texts that differ | largest difference of a score | drafted / step by step |"
    ]
    lines.append("|---|---:|---:|---:|---:|---:|")
    for one in found:
        ratio = one.drafted_seconds / one.step_by_step_seconds
        lines.append(
            f"| {one.precision} | {one.texts} | {one.spans} | {one.texts_that_differ} "
            f"| {one.largest_score_difference:.1e} | {ratio:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
