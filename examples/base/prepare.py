"""The open text as token shards of at most 16 MiB, without what the development sets hold. Resumable file by file.

    python examples/base/prepare.py --text ../shared/data/text --data ../shared/data/ner --out WORK/tokens
    python examples/base/prepare.py ... --tokenizer WORK/tokenizer --workers 16

A shard is a safetensors file: `ids` (tokens,) uint16, `cases` (tokens,) uint8, the letter case of words.
Documents follow each other with a separator between them; one in HELD_OUT goes to `held_out` shards, for perplexity.
`manifest.json` lists the shards with tokens and sha-256; the shards of one text file appear in it together.
"""

import argparse
import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from heldout import read_held_out
from prose import text_files, training_paragraphs
from safetensors.numpy import save_file
from warm_start import encoder_folder

from nerx.adapters.priming.heldout import HeldOut

SHARD_TOKENS = 5_000_000
"""At three bytes a token under 16 MiB."""

HELD_OUT = 200
"""One document in so many is kept for measuring perplexity."""

MANIFEST = "manifest.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True, help="folder of packed text files")
    parser.add_argument("--data", type=Path, required=True, help="folder of annotated sets, for the held-out texts")
    parser.add_argument("--tokenizer", type=Path, help="default: MiniLM's")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    manifest: dict[str, list[dict[str, Any]]] = read_manifest(options.out)
    waiting = [path for path in text_files(options.text) if path.name not in manifest]
    held_out = read_held_out(options.data)
    with ProcessPoolExecutor(options.workers) as pool:
        work = zip(
            waiting,
            pool.map(write_shards, waiting, repeat(options.out), repeat(options.tokenizer), repeat(held_out)),
            strict=True,
        )
        for path, shards in work:
            manifest[path.name] = shards
            (options.out / "manifest.new").write_text(json.dumps(manifest, indent=1) + "\n")
            (options.out / "manifest.new").replace(options.out / MANIFEST)
            print(f"{path.name}: {sum(shard['tokens'] for shard in shards):,} tokens", flush=True)


def read_manifest(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Shards by text file, as far as prepared."""
    place = folder / MANIFEST
    return json.loads(place.read_text()) if place.exists() else {}


def write_shards(path: Path, out: Path, tokenizer: Path | None, held_out: HeldOut) -> list[dict[str, Any]]:
    """Tokenise one text file; returns its shards' records."""
    from transformers import AutoTokenizer

    from nerx.engine.tagging.prompt import PromptEncoder
    from nerx.engine.tagging.tags import tag_format

    loaded = AutoTokenizer.from_pretrained(tokenizer or encoder_folder())
    encoder = PromptEncoder(loaded, tag_format(loaded))
    separator = loaded.sep_token_id if loaded.eos_token_id is None else loaded.eos_token_id
    pending: dict[bool, tuple[list[int], list[int]]] = {False: ([], []), True: ([], [])}
    records: list[dict[str, Any]] = []

    def flush(is_held_out: bool) -> None:
        ids, cases = pending[is_held_out]
        kind = "held_out" if is_held_out else "train"
        name = f"{path.name.partition('.')[0]}.{kind}.{len(records):02}.safetensors"
        arrays = {"ids": np.array(ids, np.uint16), "cases": np.array(cases, np.uint8)}
        save_file(arrays, out / name)
        digest = hashlib.sha256((out / name).read_bytes()).hexdigest()
        records.append({"file": name, "kind": kind, "tokens": len(ids), "sha256": digest})
        pending[is_held_out] = ([], [])

    for number, document in enumerate(_documents(path, held_out)):
        is_held_out = number % HELD_OUT == HELD_OUT - 1
        source = encoder.encode_source(document)
        ids, cases = pending[is_held_out]
        ids += [*source.ids, separator]
        cases += [*source.cases, 0]
        if len(ids) >= SHARD_TOKENS:
            flush(is_held_out)
    for is_held_out in (False, True):
        if pending[is_held_out][0]:
            flush(is_held_out)
    return records


def _documents(path: Path, held_out: HeldOut, longest: int = 20_000) -> Iterator[str]:
    """Documents of one file, in parts of about `longest` characters where they are longer."""
    lines: list[str] = []
    size = 0
    for paragraph in training_paragraphs(path, held_out):
        if lines and (not paragraph or size > longest):
            yield "\n".join(lines)
            lines, size = [], 0
        if paragraph:
            lines.append(paragraph)
            size += len(paragraph)
    if lines:
        yield "\n".join(lines)


if __name__ == "__main__":
    main()
