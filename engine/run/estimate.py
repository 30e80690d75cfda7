"""Estimates a run: counts what it would read, and times a sample of it. Writes nothing."""

import random
import time
from collections.abc import Sequence
from dataclasses import replace

from ..reading.corpus import Corpus
from .pipeline import TextExtractor
from .summary import DryRun

SAMPLE_TEXTS = 32
"""Number of texts that a dry run times. They are drawn evenly from the whole corpus, so long texts are among them."""

SAMPLE_CHARACTERS = 4000
"""Characters of a sampled text that are timed. The cost of longer texts grows with their length, chunk by chunk."""


def dry_run(corpus: Corpus, extractor: TextExtractor | None = None, *, sample_texts: int = SAMPLE_TEXTS) -> DryRun:
    """Count the corpus. With an extractor, also time a sample and scale the time by characters."""
    counted, sample = survey(corpus, sample_texts)
    return _estimate(counted, extractor, sample) if extractor and sample else counted


def survey(corpus: Corpus, sample_texts: int = SAMPLE_TEXTS) -> tuple[DryRun, list[str]]:
    """The counts of a corpus, and the first SAMPLE_CHARACTERS of some texts. Each text has the same chance."""
    draw = random.Random(0)
    sample: list[str] = []
    rows = texts = characters = 0
    corpus = corpus.only_texts()
    for shard in corpus.shards():
        for batch in corpus.batches(shard):
            rows += batch.num_rows
            for text in corpus.texts(batch):
                if text is None:
                    continue
                # Reservoir sampling, in one pass.
                if len(sample) < sample_texts:
                    sample.append(text[:SAMPLE_CHARACTERS])
                elif (place := draw.randrange(texts + 1)) < sample_texts:
                    sample[place] = text[:SAMPLE_CHARACTERS]
                texts, characters = texts + 1, characters + len(text)
    return DryRun(rows, texts, characters, len(corpus.shards())), sample


def _estimate(counted: DryRun, extractor: TextExtractor, sample: Sequence[str]) -> DryRun:
    extractor.extract(sample[:1])  # the first call also prepares the model
    tokens, clock = extractor.tokens, time.perf_counter()
    extractor.extract(sample)
    seconds, tokens = time.perf_counter() - clock, extractor.tokens - tokens
    share = counted.characters / max(sum(map(len, sample)), 1)
    return replace(counted, tokens=round(tokens * share), seconds=seconds * share)
