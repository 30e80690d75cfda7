"""The tag format: which vocabulary entries mark entities and frame the prompt.

A tagged output is the source text, token by token, with every mention written as

    OPEN mention BAR label CLOSE          in plain text: [[Ada Lovelace|person]]

Boundary first, label last: when the label is chosen the mention has been read, and the drafter's evidence on all of
its tokens can speak. Measured against label first (benchmarks/quality/tag_order.py), without any drafter, after 300,000
tokens of the tag stage: a held-out text's answer costs 8.44 nats boundary first and 8.28 label first in one run, 8.25
and 7.98 in another. Label first is 2 to 3 % better there; what it is worth with the drafter's evidence fused is not
measured yet, and the base that ships was trained boundary first.

Markers are single entries of the base's own vocabulary, so `fit` never changes it. Bases of the BERT family carry
reserved entries ("[unused1]") that no text can ever produce; elsewhere the markers are ordinary pieces such as "[[",
and a source token that happens to be one is still only ever copied (see guide.py).

Knows nothing of texts, labels or tensors.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ..errors import AdapterError

VERSION = 1

_RESERVED = tuple(f"[unused{n}]" for n in range(1, 8))
_OPEN = ("[[", "{{", "<<", "[", "{", "<")
_BAR = ("||", "|", "::", "=>", "/")
_CLOSE = ("]]", "}}", ">>", "]", "}", ">")


class Tokenizer(Protocol):
    """What the tag format needs from a Hugging Face fast tokenizer."""

    bos_token_id: int | None

    def get_vocab(self) -> dict[str, int]: ...

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...


@dataclass(frozen=True, slots=True)
class TagFormat:
    """Token ids of the markers and of the prompt's fixed parts.

    The prompt is `head (name [description_mark description] label_end)* text_mark TEXT output_mark`, the answer the
    tagged text. `aligned` says how positions are counted in the answer: False, one after the other; True, a copied
    token takes the position of the token it copies and a marker that of the last copied one. Aligned positions make
    the place to look at independent of how much was tagged before, and halve the positions a text needs.
    """

    open: int
    bar: int
    close: int
    head: tuple[int, ...]
    description_mark: tuple[int, ...]
    label_end: tuple[int, ...]
    text_mark: tuple[int, ...]
    output_mark: tuple[int, ...]
    aligned: bool = False
    version: int = VERSION

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "TagFormat":
        """Inverse of `to_dict`; raises AdapterError when the format is of another version."""
        if fields.get("version") != VERSION:
            raise AdapterError(
                f"the adapter has tag format version {fields.get('version')!r}, and this nerx reads version {VERSION}: "
                "fit it again, or use the nerx that made it"
            )
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        return cls(**values)


def tag_format(tokenizer: Tokenizer, *, aligned: bool = False) -> TagFormat:
    """The format for a base's tokenizer: reserved entries where there are some, else ordinary pieces.

    Raises AdapterError when the vocabulary has no three distinct single-token markers.
    """
    vocabulary = tokenizer.get_vocab()
    if all(entry in vocabulary for entry in _RESERVED):
        opening, bar, close, head, label_end, text_mark, output_mark = (vocabulary[entry] for entry in _RESERVED)
        colon = tuple(tokenizer.encode(":", add_special_tokens=False))
        return TagFormat(opening, bar, close, (head,), colon, (label_end,), (text_mark,), (output_mark,), aligned)

    def plain(text: str) -> tuple[int, ...]:
        return tuple(tokenizer.encode(text, add_special_tokens=False))

    start = () if tokenizer.bos_token_id is None else (tokenizer.bos_token_id,)
    return TagFormat(
        open=_first(vocabulary, _OPEN, "opening"),
        bar=_first(vocabulary, _BAR, "separating"),
        close=_first(vocabulary, _CLOSE, "closing"),
        head=start + plain("Mark the entities of these kinds in the text.\n"),
        description_mark=plain(":"),
        label_end=plain("\n"),
        text_mark=plain("Text:\n"),
        output_mark=plain("\nTagged:\n"),
        aligned=aligned,
    )


def _first(vocabulary: Mapping[str, int], pieces: tuple[str, ...], what: str) -> int:
    for piece in pieces:
        if piece in vocabulary:
            return vocabulary[piece]
    raise AdapterError(f"the base's vocabulary has no {what} marker (tried {' '.join(pieces)}): use another base")
