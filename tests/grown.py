"""An incremental run as the command makes it, with the stand-in extractor. Also a program: `grown.py OUT LAKE`."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from capitals import Capitals

from nerx.engine.origin import Origin
from nerx.engine.reading.corpus import open_corpus
from nerx.engine.reading.listing import list_files
from nerx.engine.run import pipeline
from nerx.engine.writing.growing import GrowingOutput
from nerx.engine.writing.growing_sink import GrowingSink
from nerx.engine.writing.increment import Increment
from nerx.engine.writing.part import part_columns


@dataclass(frozen=True, slots=True)
class Grown:
    increment: Increment
    texts: int
    """Texts that were extracted from."""
    interrupted: bool = False


OPTIONS = {"min_score": 0.0, "mode": "exact", "precision": "auto"}
"""What the command notes of its options when none is given."""


def grow(
    out: Path,
    lake: Path,
    extractor: Capitals | None = None,
    *,
    min_score: float = 0.0,
    text_column: str | None = None,
    base_digest: str = "",
    overwrite: bool = False,
    prune: bool = False,
    stop=lambda: False,
    checkpoint_seconds: float = 60,
    **reading,
) -> Grown:
    """Add what is new in `lake` to `out`."""
    extractor = extractor or Capitals()
    options = {**OPTIONS, "min_score": min_score}
    origin = Origin(extractor.digest, options, base_digest=base_digest, text_column=text_column)
    with GrowingOutput(out, origin, overwrite=overwrite, prune=prune) as output:
        increment = output.compare(list_files([lake]))
        if not increment.work:
            output.finish()
            return Grown(increment, extractor.texts)
        known = part_columns(output.folder, output.parts[0]) if output.parts else None
        paths = [work.file.path for work in increment.work]
        corpus = open_corpus(paths, text_column=output.text_column, known=known, **reading)
        sink = GrowingSink(output, increment, corpus, origin, checkpoint_seconds=checkpoint_seconds)
        summary = pipeline.run(corpus, extractor, sink, stop=stop)
    return Grown(increment, extractor.texts, summary.interrupted)


class Slow(Capitals):
    def extract(self, texts):
        time.sleep(0.01)
        return super().extract(texts)


if __name__ == "__main__":
    print("ready", flush=True)  # noqa: T201
    grow(Path(sys.argv[1]), Path(sys.argv[2]), Slow(), checkpoint_seconds=0.05, batch_rows=20, shard_rows=60)
