"""Times each way in which an adapter can read texts on this machine, so that a user can choose one.

It knows no files. Every way works on the same texts in the same batches. Only ratios within one run are compared.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

from ..tagging.batching import buckets
from ..tagging.decoder import Decoded, Decoder
from ..tagging.extractor import Extractor
from ..tagging.guide import TokenSpan
from ..tagging.loading import Precision
from ..tagging.prompt import SourceTokens
from .metrics import Counts

Way = Literal["one pass", "exact", "fast", "step by step"]

BATCH = 16
"""Texts in a batch. On a CPU larger batches are no faster."""

STEP_SHARE = 8
"""`step by step` decodes every eighth batch and scales the time. It only has to show what drafting saves."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The time of one way at one precision. `one pass` reads prompt and answer once: no way can be faster.

    seconds: for all texts. times_one_pass: the time as a multiple of `one pass` at the same precision. rounds: passes
    per text after that over the prompt. agreement: F1 in percent of the mentions, with those of the first `exact` as
    gold; None for `one pass`, which finds none.
    """

    way: Way
    precision: Precision
    seconds: float
    texts_a_second: float
    tokens_a_second: float
    times_one_pass: float
    rounds: float
    agreement: float | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def measure(
    load: Callable[[Precision], Extractor], texts: Sequence[str], precisions: Sequence[Precision]
) -> Iterator[Pace]:
    """Time every way, one precision after the other. `load` makes the extractor. Tokens are those of the texts."""
    reference: list[Decoded] | None = None
    for precision in precisions:
        extractor = load(precision)
        groups = _groups(extractor, texts)
        decoder = extractor.decoder
        decoder.decode(groups[0])  # the first call also prepares the model
        exact, seconds = _timed(decoder.decode, groups)
        reference = reference or exact
        one_pass = _reading(decoder, groups, exact)
        paced = _Pacer(precision, groups, one_pass, reference)
        yield paced("one pass", one_pass)
        yield paced("exact", seconds, exact)
        if decoder.drafter is not None:
            drafted, seconds = _timed(decoder.draft, groups)
            yield paced("fast", seconds, drafted)
        some = groups[::STEP_SHARE]
        stepped, seconds = _timed(partial(decoder.decode, drafts=False), some)
        share = sum(len(source) for group in groups for source in group) / sum(len(s) for group in some for s in group)
        yield replace(paced("step by step", seconds * share), rounds=sum(x.rounds for x in stepped) / len(stepped))


def _reading(decoder: Decoder, groups: Sequence[Sequence[SourceTokens]], answers: Sequence[Decoded]) -> float:
    """Seconds to read all texts and their answers once."""
    rest = iter(answers)
    began = time.perf_counter()
    for group in groups:
        decoder.read(group, [next(rest) for _ in group])
    return time.perf_counter() - began


class _Pacer:
    def __init__(
        self,
        precision: Precision,
        groups: Sequence[Sequence[SourceTokens]],
        one_pass: float,
        reference: Sequence[Decoded],
    ) -> None:
        self._precision, self._one_pass, self._reference = precision, one_pass, reference
        self._texts = sum(map(len, groups))
        self._tokens = sum(len(source) for group in groups for source in group)

    def __call__(self, way: Way, seconds: float, found: Sequence[Decoded] = ()) -> Pace:
        return Pace(
            way,
            self._precision,
            round(seconds, 3),
            round(self._texts / seconds, 1),
            round(self._tokens / seconds),
            round(seconds / self._one_pass, 2),
            round(sum(one.rounds for one in found) / self._texts, 2),
            round(100 * _agreement(self._reference, found), 1) if found else None,
        )


def _groups(extractor: Extractor, texts: Sequence[str]) -> list[list[SourceTokens]]:
    """The texts in batches of similar lengths. Each text is cut to one chunk."""
    limit = extractor.chunk_tokens
    sources = [extractor.model.encoder.encode_source(text) for text in texts]
    sources = [source.part(0, min(len(source), limit)) for source in sources if len(source)]
    return [[sources[i] for i in group] for group in buckets([len(s) for s in sources], 1 << 30, most=BATCH)]


def _timed(
    run: Callable[[Sequence[SourceTokens]], list[Decoded]], groups: Sequence[Sequence[SourceTokens]]
) -> tuple[list[Decoded], float]:
    began = time.perf_counter()
    found = [one for group in groups for one in run(group)]
    return found, time.perf_counter() - began


def _agreement(reference: Sequence[Decoded], found: Sequence[Decoded]) -> float:
    counts = Counts()
    for one, other in zip(reference, found, strict=True):
        gold: set[TokenSpan] = {span for span, _ in one.spans}
        guess: set[TokenSpan] = {span for span, _ in other.spans}
        counts += Counts(len(gold & guess), len(guess - gold), len(gold - guess))
    return counts.f1 if counts != Counts() else 1.0
