"""The sink of a run as the command opens it, for an extractor that has no card."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from nerx.engine.origin import Origin
from nerx.engine.reading.corpus import Corpus
from nerx.engine.writing.output import Output, open_output
from nerx.engine.writing.sink import Sink


class Digested(Protocol):
    digest: str


def open_sink(
    out: Path | Output,
    corpus: Corpus,
    extractor: Digested,
    *,
    options: Mapping[str, Any] | None = None,
    provenance: Mapping[str, str] | None = None,
    **settings: Any,
) -> Sink:
    """`out` is a path, which becomes the output of the corpus's share, or an output; `settings` are the sink's."""
    output = open_output(out, share=corpus.share) if isinstance(out, Path) else out
    return Sink(output, corpus, Origin(extractor.digest, options or {}, **(provenance or {})), **settings)
