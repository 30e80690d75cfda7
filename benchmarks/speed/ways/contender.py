"""What a contender is, and nerx's own: the limit, exact, fast, without drafter, step by step."""

from collections.abc import Sequence
from typing import Protocol

from nerx.engine.tagging.decoder import Decoded, Decoder

from ..work import Batch


class Contender(Protocol):
    """One way of getting the tagged outputs. `name` is its key in the results, `what` a line for the page.

    whole: it schedules for itself and is given all batches at once; else it gets one at a time.
    every: it is so slow that it does only every so-many-th batch, and its time is scaled by that of the limit.
    """

    name: str
    what: str
    whole: bool
    every: int

    def run(self, batches: Sequence[Batch]) -> None: ...


class Limit:
    """One forward pass over text and right answer behind the cached head: what no way of generating can beat."""

    whole, every = False, 1

    def __init__(self, decoders: Sequence[Decoder], name: str = "limit", what: str | None = None) -> None:
        self.name = name
        self.what = what or "one teacher-forced pass over text and answer, behind the cached head"
        self._decoders = decoders

    def run(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            answers = [Decoded(answer, (), 0) for answer in batch.answers]
            self._decoders[batch.part].read(batch.sources, answers)


class Exact:
    """nerx as it is; which decoder is given makes the rest: with or without drafter, of what precision or model."""

    whole = False

    def __init__(self, name: str, what: str, decoders: Sequence[Decoder], *, every: int = 1) -> None:
        self.name, self.what, self.every = name, what, every
        self._decoders = decoders

    def run(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            self.decode(batch)

    def decode(self, batch: Batch) -> list[Decoded]:
        return self._decoders[batch.part].decode(batch.sources)


class Fast(Exact):
    """The drafter's word alone."""

    def decode(self, batch: Batch) -> list[Decoded]:
        return self._decoders[batch.part].draft(batch.sources)


class StepByStep(Exact):
    """The reference: one token a round."""

    def decode(self, batch: Batch) -> list[Decoded]:
        return self._decoders[batch.part].decode(batch.sources, drafts=False)
