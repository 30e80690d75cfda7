"""Texts in, spans out: tokenise, chunk, bucket, decode, merge. Production, evaluation and `fit` all use it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..errors import InputError
from ..span import Extraction, Span
from .allocator import is_out_of_memory
from .batching import buckets
from .card import AdapterCard
from .chunk import Chunk, merge
from .decoder import Decoded, Decoder
from .drafter import Drafter
from .loading import Precision, load_adapted
from .model import LanguageModel
from .prompt import SourceTokens

_SHORTEST_CHUNK = 24

Mode = Literal["exact", "fast"]


@dataclass(slots=True)
class _Reading:
    """One chunk of one text on its way through the decoder."""

    text: int
    chunk: Chunk
    source: SourceTokens
    spans: list[Span] | None = field(default=None)
    decoded: Decoded | None = None
    error: str | None = None


class Extractor:
    """A base with its adapter, ready to extract. `tokens` counts what the model has read so far.

    mode: `exact` decodes; `fast` returns what the drafter proposes, after one pass and without generation.
    batch_tokens: padded tokens in one forward pass, prompt and answer; the one dial between memory and speed.
    min_score: spans below this probability are dropped. Default: the card's value.
    """

    def __init__(
        self,
        model: LanguageModel,
        drafter: Drafter | None,
        card: AdapterCard,
        *,
        mode: Mode = "exact",
        batch_tokens: int | None = None,
        min_score: float | None = None,
    ) -> None:
        self.card, self.labels, self.digest = card, card.labels, card.digest
        self.mode, self.min_score = mode, card.min_score if min_score is None else min_score
        self.model = model
        self._encoder = model.encoder
        head = self._encoder.encode_head(card.labels)
        self.decoder = Decoder(model, head, drafter, alpha=card.alpha, temperature=card.temperature)
        self._batch_tokens = batch_tokens or (8_192 if model.device.type == "cpu" else 131_072)
        self.chunk_tokens = chunk_limit(model, len(head.ids), card.text_limit)

    @classmethod
    def load(
        cls,
        adapter: str | Path,
        *,
        device: str = "auto",
        base: str | None = None,
        alpha: float | None = None,
        mode: Mode = "exact",
        precision: Precision = "auto",
        batch_tokens: int | None = None,
        min_score: float | None = None,
    ) -> "Extractor":
        """Load an adapter folder with its base. `alpha` overrides the card's, `base` says where the base lies now.

        Raises AdapterError when the folder is missing, damaged, or made for another base or another tag format.
        """
        card = AdapterCard.read(adapter)
        card.check_files(adapter)
        card.check_tag_format()
        model, drafter = load_adapted(card, Path(adapter), base=base, device=device, precision=precision)
        if alpha is not None:
            card = card.with_alpha(alpha)
        return cls(model, drafter, card, mode=mode, batch_tokens=batch_tokens, min_score=min_score)

    @property
    def tokens(self) -> int:
        return self.decoder.tokens

    def count_tokens(self, texts: Sequence[str | None]) -> int:
        """Number of source tokens in `texts`. The model does not read them."""
        return sum(len(self._encoder.encode_source(text)) for text in texts if text)

    def extract(self, texts: Iterable[str | None]) -> list[Extraction]:
        """Find the spans of every text, in order. A null text is not processed; a text that fails carries its error.

        What is no text, such as the NaN of a data frame, fails alone. Raises InputError for a single str.
        """
        if isinstance(texts, str | bytes):
            raise InputError("extract takes several texts, and got a single one: write extract([text])")
        texts = list(texts)
        problems = {index: problem for index, text in enumerate(texts) if (problem := _problem(text))}
        readings: list[_Reading] = []
        for index, text in enumerate(texts):
            if index not in problems and text:
                readings += self._readings(index, text)
        lengths = [2 * len(reading.source) for reading in readings]
        head = len(self.decoder.head.ids)
        for group in buckets([length + head for length in lengths], self._batch_tokens):
            self._decode([readings[i] for i in group if len(readings[i].source)])
        by_text: dict[int, list[_Reading]] = {}
        for reading in readings:
            by_text.setdefault(reading.text, []).append(reading)
        return [
            Extraction(None, problems[index]) if index in problems else self._extraction(text, by_text.get(index, []))
            for index, text in enumerate(texts)
        ]

    def _readings(self, index: int, text: str) -> list[_Reading]:
        return [_Reading(index, *one) for one in self._encoder.encode_chunks(text, self.chunk_tokens)]

    def _decode(self, readings: Sequence[_Reading]) -> None:
        """Decode a batch. When memory runs out, decode its halves; a single chunk that does not fit fails alone."""
        if not readings:
            return
        run = self.decoder.decode if self.mode == "exact" else self.decoder.draft
        try:
            outcomes = run([reading.source for reading in readings])
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            outcomes = None  # the batch is split outside the handler, where the failed pass's tensors are released
        if outcomes is not None:
            for reading, decoded in zip(readings, outcomes, strict=True):
                reading.spans, reading.decoded = self._spans(reading, decoded), decoded
        elif len(readings) == 1:
            readings[0].error = f"out of memory on a chunk of {len(readings[0].source)} tokens; lower --batch-tokens"
        else:
            middle = len(readings) // 2
            self._decode(readings[:middle])
            self._decode(readings[middle:])

    def _spans(self, reading: _Reading, decoded: Decoded) -> list[Span]:
        names = self.labels.names
        found = []
        for (first, last, label), score in decoded.spans:
            start, end = reading.source.characters(first, last)
            # Before chunks are merged: a span that is to be dropped must not push another one out.
            if start < end and score >= self.min_score:
                found.append(Span(start, end, names[label], score))
        return found

    def _extraction(self, text: str | None, readings: Sequence[_Reading]) -> Extraction:
        if text is None:
            return Extraction(None)
        if not text:
            return Extraction(())
        errors = [reading.error for reading in readings if reading.error]
        if errors:
            return Extraction(None, errors[0])
        spans = merge([reading.chunk for reading in readings], [reading.spans or [] for reading in readings])
        read = sum(reading.chunk.end - reading.chunk.start for reading in readings)
        decoded = [reading.decoded for reading in readings if reading.decoded]
        return Extraction(
            tuple(spans),
            None,
            read,
            rounds=sum(one.rounds for one in decoded),
            drafted=sum(one.drafted for one in decoded),
            accepted=sum(one.accepted for one in decoded),
        )


def _problem(text: object) -> str | None:
    """Why something cannot be read as a text; None for a text and for a null."""
    if text is None:
        return None
    if not isinstance(text, str):
        return f"not a text, but a value of type {type(text).__name__}"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"not Unicode: character {error.start:,} is half of a surrogate pair"
    return None


def chunk_limit(model: LanguageModel, head: int, wanted: int) -> int:
    """The most source tokens of a chunk: `wanted`, or as many as the base has positions for after a head of `head`.

    Raises InputError when labels and descriptions leave too little room for text.
    """
    room = model.max_positions - head - len(model.tags.output_mark)
    limit = min(wanted or model.text_limit, room if model.tags.aligned else room // 3)
    if limit < _SHORTEST_CHUNK:
        raise InputError(
            f"labels and descriptions take {head} of the base's {model.max_positions} positions, which leaves "
            f"{max(limit, 0)} tokens for text: shorten the descriptions, use fewer labels or a larger base"
        )
    return limit
