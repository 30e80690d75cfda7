"""A small deterministic extractor for tests of everything around the model: capitalised words are entities."""

import re
from collections.abc import Sequence

from nerx.engine.span import Extraction, Span

POISON = "POISON"
"""A text that holds this fails, as one that the model cannot process does."""


class Capitals:
    """Marks every capitalised word, labelled by the parity of its length."""

    def __init__(self, digest: str = "0" * 32) -> None:
        self.digest = digest
        self.tokens = 0
        self.texts = 0

    def extract(self, texts: Sequence[str | None]) -> list[Extraction]:
        self.texts += len(texts)
        return [self._extract(text) for text in texts]

    def _extract(self, text: str | None) -> Extraction:
        if text is None:
            return Extraction(None)
        self.tokens += len(text.split())
        if POISON in text:
            return Extraction(None, "cannot be processed")
        found = re.finditer(r"\b[A-Z]\w*", text)
        spans = [Span(m.start(), m.end(), ("EVEN", "ODD")[len(m[0]) % 2], 1 / (1 + len(m[0]))) for m in found]
        return Extraction(tuple(spans), None, len(text))
