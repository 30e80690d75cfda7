"""What must be equal for a run to go on where another stopped, and for files to belong together."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..origin import RUN, Origin
from ..reading.corpus import Corpus

Fingerprint = Mapping[str, Any]
"""JSON values."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run over one corpus, as a staging folder and an output know it again.

    `shards` are the numbers of those that it works on itself: all, or those of its share. `goes_on` tells that another
    process began it and was ended before it had tidied up, so that its result may be in place already.
    """

    origin: Origin
    fingerprint: Fingerprint
    facts: Mapping[str, str]
    """What each of its files says, in its metadata."""
    shards: tuple[int, ...]
    goes_on: bool = field(default=False, compare=False)

    @classmethod
    def of(cls, corpus: Corpus, origin: Origin) -> "Run":
        """The run of `origin` over `corpus`; all shares of a corpus are one run, and differ in `shards` alone."""
        origin = origin.reading(corpus.text_column)
        cuts = [
            (number, cut.first_row, cut.rows) for number, source in enumerate(corpus.sources) for cut in source.cuts
        ]
        fingerprint = {
            "adapter": origin.adapter,
            "options": dict(origin.options),
            "text column": corpus.text_column,
            "rows": sum(rows for _, _, rows in cuts),
            "input": corpus.identity,
            "cuts into shards": hashlib.blake2b(json.dumps(cuts).encode(), digest_size=16).hexdigest(),
            **origin.provenance,
        }
        facts = {**origin.facts(corpus.digest), RUN: digest_of(fingerprint)}
        return cls(origin, fingerprint, facts, tuple(shard.index for shard in corpus.shards()))

    @property
    def digest(self) -> str:
        """A short name for the fingerprint."""
        return self.facts[RUN]


def digest_of(fingerprint: Fingerprint) -> str:
    return hashlib.blake2b(json.dumps(fingerprint, sort_keys=True).encode(), digest_size=16).hexdigest()
