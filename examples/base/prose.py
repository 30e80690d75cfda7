"""The open text that a text stage reads: packed files of one paragraph a line, a blank line between documents."""

import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from nerx.adapters.priming.heldout import HeldOut


def text_files(folder: Path) -> list[Path]:
    """The one list of what a text stage reads: the search for leaks goes by it too."""
    return sorted(folder.glob("*.txt.zst"))


def read_paragraphs(path: Path) -> Iterator[tuple[int, str]]:
    """Paragraphs of one file, each with its line, from 1; a blank one where a document ends."""
    with pa.input_stream(str(path)) as packed, io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as lines:
        for line, text in enumerate(lines, 1):
            yield line, text.rstrip("\n")


def training_paragraphs(path: Path, held_out: HeldOut) -> Iterator[str]:
    """Paragraphs to train on: those that share no text with the development sets."""
    return (text for _, text in read_paragraphs(path) if not held_out.touches(text))
