"""Texts met before: within a shard a text that comes again is looked up and not read again.

A shard, and not the whole run, so that a run which was stopped goes on as if it had not been: what is known at a row
follows from the rows of its shard before it, and these are either at hand or in finished pieces. Knows no model.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..errors import NerxError
from ..span import Extraction

Extract = Callable[[Sequence[str | None]], list[Extraction]]


class Memo:
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
        read = dict(zip(fresh, self._ask(asked), strict=True))
        self.learn(asked, list(read.values()))
        blank = iter(self._ask([text for text in texts if not text]))
        outcomes = []
        for key, text in zip(keys, texts, strict=True):
            if not text:
                outcomes.append(next(blank))
            elif key in fresh:
                outcomes.append(read[key])
                del fresh[key]
            else:
                outcomes.append(self._known.get(key) or read[key])
        return outcomes

    def _ask(self, texts: Sequence[str | None]) -> list[Extraction]:
        found = self._extract(texts) if texts else []
        if len(found) != len(texts):
            raise NerxError(f"{len(texts)} texts gave {len(found)} extractions")
        return found


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
