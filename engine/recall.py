"""Texts met before: within a shard a text that comes again is looked up and not read again.

A shard, and not the whole run, so that a run which was stopped can come to the very same bits: what is known at a row
follows from the rows of its shard before it, and these are either at hand or in finished pieces. Knows no model.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from .span import Extraction

Extract = Callable[[Sequence[str | None]], list[Extraction]]


class Recall:
    """The extractions of one shard's texts so far. Those that were looked up say so: `repeats` is 1, their cost 0."""

    def __init__(self, extract: Extract) -> None:
        self._extract = extract
        self._known: dict[bytes, Extraction] = {}

    def learn(self, texts: Sequence[str | None], extractions: Sequence[Extraction]) -> None:
        """Remember rows that are done; failed ones are not worth it."""
        for text, extraction in zip(texts, extractions, strict=True):
            if text and extraction.error is None and extraction.spans is not None:
                again = replace(extraction, rounds=0, drafted=0, accepted=0, repeats=1)
                self._known.setdefault(_key(text), again)

    def extract(self, texts: Sequence[str | None]) -> list[Extraction]:
        """One extraction a text, in order; of equal texts only the first is read."""
        keys = [_key(text) if text else b"" for text in texts]
        fresh: dict[bytes, str] = {}
        for key, text in zip(keys, texts, strict=True):
            if text and key not in self._known:
                fresh.setdefault(key, text)
        asked = list(fresh.values())
        read = dict(zip(fresh, self._extract(asked), strict=True)) if asked else {}
        self.learn(asked, list(read.values()))
        blank = iter(self._extract([text for text in texts if not text]))
        first = dict(read)
        outcomes = []
        for key, text in zip(keys, texts, strict=True):
            outcomes.append((first.pop(key, None) or self._known.get(key) or read[key]) if text else next(blank))
        return outcomes


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
