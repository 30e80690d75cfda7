"""The work that every contender does: texts of some sets, cut at the base's limit, in batches of like lengths.

Each set has an adapter of its own, fitted on its 20-shot seeds. Knows nothing of contenders or clocks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nerx.adapters.reader import read_seeds
from nerx.engine.review.metrics import Counts
from nerx.engine.span import Seed, Span
from nerx.engine.tagging.batching import buckets
from nerx.engine.tagging.decoder import Decoded
from nerx.engine.tagging.extractor import Extractor
from nerx.engine.tagging.guide import TokenSpan
from nerx.engine.tagging.loading import Precision
from nerx.engine.tagging.prompt import SourceTokens

from ..lab.dataset import load_task, subset
from ..lab.places import FREIGHT

SETS = ("wnut17", "crossner_science", "sec_fin")


@dataclass(frozen=True, slots=True)
class Part:
    """One set: the seeds that its adapter is fitted on, and its texts."""

    name: str
    seeds: Path
    texts: tuple[Seed, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """Sources that go through a model together. `part` is the index of their set, and so of their adapter and labels.

    `gold[i]` and the source's characters refer to the text that the source was cut from. `answers` are the outputs
    that every contender writes: those of exact decoding, once they are known. `labels` are the names that decoders
    have the indices of.
    """

    part: int
    labels: tuple[str, ...]
    sources: tuple[SourceTokens, ...]
    gold: tuple[tuple[Span, ...], ...]
    answers: tuple[tuple[int, ...], ...] = ()

    def first(self, count: int) -> "Batch":
        return replace(self, **{name: getattr(self, name)[:count] for name in ("sources", "gold", "answers")})

    def with_answers(self, decoded: Sequence[Decoded]) -> "Batch":
        return replace(self, answers=tuple(one.ids for one in decoded))


def ner_parts(data: Path, texts: int) -> list[Part]:
    """`texts` test texts of SETS, in parts as equal as the sets are large. Raises DataError when a set is missing."""
    tasks = [load_task(data, name, shots=20, draw=0, texts=0) for name in SETS]
    sizes = shares(texts, [len(task.test) for task in tasks])
    parts = []
    for task, size in zip(tasks, sizes, strict=True):
        assert task.seeds_path is not None
        parts.append(Part(task.dataset, task.seeds_path, subset(task.test, size) if size else ()))
    return parts


def freight_parts(texts: int) -> list[Part]:
    """The example that lies in the repository, for clones without data."""
    gold = read_seeds(FREIGHT / "gold.jsonl", training=False).seeds
    return [Part("freight", FREIGHT / "seeds.jsonl", subset(tuple(gold), min(texts, len(gold))))]


def shares(total: int, sizes: Sequence[int]) -> list[int]:
    """`total` cut into parts of at most `sizes`, as equal as that allows."""
    given = [0] * len(sizes)
    for place in sorted(range(len(sizes)), key=lambda i: sizes[i]):
        left = sum(1 for i in range(len(sizes)) if sizes[i] >= sizes[place] and not given[i])
        given[place] = min(sizes[place], (total - sum(given)) // left)
    return given


def load_extractors(adapters: Sequence[Path], device: str, precision: Precision = "auto") -> list[Extractor]:
    """One extractor a part: the embedded base with that part's adapter merged in."""
    return [Extractor.load(adapter, device=device, precision=precision) for adapter in adapters]


def batches_of(parts: Sequence[Part], extractors: Sequence[Extractor], most: int) -> list[Batch]:
    """Batches of at most `most` texts of one part each, the longest first; texts are cut at the base's text limit."""
    pairs = enumerate(zip(parts, extractors, strict=True))
    return [batch for place, (part, extractor) in pairs for batch in _part_batches(place, part, extractor, most)]


def _part_batches(place: int, part: Part, extractor: Extractor, most: int) -> Iterator[Batch]:
    model = extractor.model
    pairs = [(model.encoder.encode_source(seed.text), seed.spans) for seed in part.texts]
    cut = [(source.part(0, min(len(source), model.text_limit)), spans) for source, spans in pairs if len(source)]
    for group in buckets([len(source) for source, _ in cut], 10**9, most=most):
        sources = tuple(cut[i][0] for i in group)
        gold = tuple(_within(*cut[i]) for i in group)
        yield Batch(place, extractor.labels.names, sources, gold)


def _within(source: SourceTokens, spans: Sequence[Span]) -> tuple[Span, ...]:
    """The spans that lie inside what is left of the text."""
    end = source.offsets[-1][1]
    return tuple(span for span in spans if span.end <= end)


def strict_counts(batch: Batch, decoded: Sequence[Decoded]) -> Counts:
    """Strict true and false positives and false negatives of a decoded batch."""
    total = Counts()
    for source, gold, one in zip(batch.sources, batch.gold, decoded, strict=True):
        right = {span.key for span in gold}
        found = {_key(source, span, batch.labels) for span, _ in one.spans}
        hits = len(right & found)
        total += Counts(hits, len(found) - hits, len(right) - hits)
    return total


def _key(source: SourceTokens, span: TokenSpan, labels: Sequence[str]) -> tuple[int, int, str]:
    return *source.characters(span.start, span.end), labels[span.label]
