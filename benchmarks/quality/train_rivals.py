"""The tag stage of the rivals that have one, ahead of `few_shot.py`, which otherwise does it on demand.

    python -m benchmarks.quality.train_rivals            MiniLM, as many rows as the embedded base; 40 minutes on a core
    python -m benchmarks.quality.train_rivals --rival gliner
    python -m benchmarks.quality.train_rivals --quick    30,000 tokens: does it run?

Stop it at any time: the same command goes on from the last checkpoint, in `benchmarks/.cache/`.
"""

import argparse
from pathlib import Path

from ..lab.dataset import DEFAULT_DATA
from ..lab.machine import limit_threads, usable_cores
from ..lab.rivals.gliner_span import GLiNERSpan
from ..lab.rivals.minilm_fair import MiniLMFair

RIVALS: dict[str, type[MiniLMFair | GLiNERSpan]] = {"minilm": MiniLMFair, "gliner": GLiNERSpan}
QUICK = 30_000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rival", choices=sorted(RIVALS), default="minilm")
    parser.add_argument("--tokens", type=float, help="of its own input; default: as many rows as the base", metavar="N")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder of the NER sets")
    parser.add_argument("--threads", type=int, default=usable_cores(), metavar="N")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} tokens")
    options = parser.parse_args()
    limit_threads(options.threads)
    tokens = QUICK if options.quick else round(options.tokens or 0)
    rival = RIVALS[options.rival](options.data, tokens)
    rival.prepare()
    print(rival.folder)


if __name__ == "__main__":
    main()
