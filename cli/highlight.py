"""A text with its entities marked for a terminal: in colour, or in brackets where there is no colour."""

from collections.abc import Sequence
from unicodedata import category

from rich.text import Text

from ..engine.span import Span

COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "red", "bright_cyan", "bright_green", "bright_magenta")
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def highlight(text: str, spans: Sequence[Span], labels: Sequence[str], *, colour: bool) -> Text:
    """`text` with each span marked and named. `labels` give each label its colour. Spans are sorted, disjoint."""
    marked = Text()
    at = 0
    for span in spans:
        marked.append(printable(text[at : span.start]))
        mention = printable(text[span.start : span.end])
        if colour:
            shade = COLOURS[labels.index(span.label) % len(COLOURS)]
            marked.append(f" {mention} ", style=f"bold black on {shade}")
            marked.append(f" {printable(span.label)}", style=shade)
        else:
            marked.append(f"[{mention} | {printable(span.label)}]")
        at = span.end
    return marked.append(printable(text[at:]))


def printable(text: str) -> str:
    """`text` with U+FFFD for each control and direction character, which would act on the terminal."""
    return "".join("\ufffd" if _acts_on_terminal(character) else character for character in text.replace("\r\n", "\n"))


def _acts_on_terminal(character: str) -> bool:
    return character in _BIDI_CONTROLS or (category(character) == "Cc" and character not in "\n\t")


def excerpt(text: str, spans: Sequence[Span], limit: int) -> tuple[str, list[Span]]:
    """The first `limit` characters that hold entities, and the spans in them. An ellipsis marks each cut."""
    if len(text) <= limit:
        return text, list(spans)
    first = max(0, min(spans[0].start - limit // 4 if spans else 0, len(text) - limit))
    cut = text[first : first + limit]
    head = "… " if first else ""
    tail = " …" if first + limit < len(text) else ""
    offset = len(head) - first
    inside = [s for s in spans if s.start >= first and s.end <= first + limit]
    return head + cut + tail, [Span(s.start + offset, s.end + offset, s.label, s.score) for s in inside]
