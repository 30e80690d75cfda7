"""Is anything of the development sets in what the embedded base is trained on?

    python -m benchmarks.quality.leaks                     everything: minutes on one core
    python -m benchmarks.quality.leaks --quick             of the open text, the first 5,000 paragraphs a file

Every text of the six development sets (all splits, all seeds) is looked for in everything that the recipe in
`examples/base` reads: the rows of the tag stage and the paragraphs of a text stage, by the recipe's own lists of files.

    exact       the whole texts are the same, letter case, white space and punctuation aside
    contained   a development text of 6 to 12 words stands within a longer text
    13 words    13 words in a row are the same

Counted twice: in the files as they are, and in what the recipe makes of them, which leaves out every text found here.
The results hold counts and line numbers, no text: the texts are not ours to publish.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from ..lab.dataset import DEFAULT_DATA
from ..lab.machine import commit, this_machine
from ..lab.places import RECIPE, RESULTS

sys.path.insert(0, str(RECIPE))

from corpora import line_of, read_rows, training_files, training_rows
from heldout import DEVELOPMENT, read_held_out
from prose import read_paragraphs, text_files, training_paragraphs

from nerx.adapters.priming.heldout import FEWEST, RUN, HeldOut, Match, words
from nerx.adapters.priming.sets import files_in

RESULT = RESULTS / "leaks.json"
QUICK = 5_000
"""Paragraphs a file that `--quick` reads."""

KINDS = ("exact", "contained", "run")


@dataclass(frozen=True, slots=True)
class Leak:
    """A training text, by its line in its file, that shares something with one development text."""

    line: int
    words: int
    match: Match

    def to_dict(self) -> dict[str, Any]:
        place = self.match.place
        held_out = {"set": place.dataset, "file": place.file, "line": place.line}
        return {"line": self.line, "words": self.words, "kind": self.match.kind, "held_out": held_out}


@dataclass(frozen=True, slots=True)
class Search:
    """One file of training texts, searched: `texts` in all, `kept` of them by the recipe. `kept_leaks` should be 0."""

    stage: str
    source: str
    texts: int
    leaks: tuple[Leak, ...]
    kept: int
    kept_leaks: int

    def count(self, kind: str) -> int:
        """Texts with a match of this kind and none of a stronger one."""
        strongest = {leak.line: leak.match.kind for leak in sorted(self.leaks, key=_strength, reverse=True)}
        return Counter(strongest.values())[kind]

    @property
    def leaking(self) -> int:
        return len({leak.line for leak in self.leaks})

    @property
    def short(self) -> int:
        """Texts that are the same as a development text but have fewer than FEWEST words: mostly a single one."""
        return len({leak.line for leak in self.leaks if leak.match.kind == "exact" and leak.words < FEWEST})

    def to_dict(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "source": self.source,
            "texts": self.texts,
            **{kind: self.count(kind) for kind in KINDS},
            "exact_short": self.short,
            "kept": self.kept,
            "kept_leaks": self.kept_leaks,
            "leaks": [leak.to_dict() for leak in self.leaks],
        }


def main() -> None:
    options = parse()
    started = time.perf_counter()
    if lacking := [name for name in DEVELOPMENT if not files_in(options.data / name)]:
        sys.exit(f"leaks: {options.data} lacks {', '.join(lacking)}; give the folder of the NER sets with --data")
    held_out = read_held_out(options.data)
    print(f"{held_out.texts:,} development texts", file=sys.stderr)
    most = QUICK if options.quick else None
    searches = [*search_tag_stage(options.data, held_out), *search_text_stage(options.text, held_out, most)]
    document = {
        "benchmark": "leaks",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": this_machine(()).to_dict(),
        "commit": commit(),
        "quick": options.quick,
        "seconds": round(time.perf_counter() - started),
        "development_texts": held_out.texts,
        "run": RUN,
        "fewest": FEWEST,
        "sources": [search.to_dict() for search in searches],
    }
    print(table(searches))
    out = options.json or (RESULT.with_stem("leaks.quick") if options.quick else RESULT)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=1) + "\n")
    out.with_suffix(".md").write_text(to_page(document, searches))
    print(f"written: {out}, {out.with_suffix('.md')}", file=sys.stderr)


def search_tag_stage(data: Path, held_out: HeldOut) -> Iterator[Search]:
    for path in training_files(data):
        rows = ((line_of(row), row.text) for row in read_rows(path))
        kept = (row.text for row in training_rows(path, held_out))
        yield search("tag", f"{path.parent.name}/{path.name}", rows, kept, held_out)


def search_text_stage(folder: Path, held_out: HeldOut, most: int | None) -> Iterator[Search]:
    """Of each file its first `most` paragraphs."""
    for path in text_files(folder):
        paragraphs = ((line, text) for line, text in read_paragraphs(path) if text)
        kept = (text for text in training_paragraphs(path, held_out) if text)
        yield search("text", path.name, islice(paragraphs, most), islice(kept, most), held_out)


def search(stage: str, source: str, texts: Iterable[tuple[int, str]], kept: Iterable[str], held_out: HeldOut) -> Search:
    """`texts` are those of the file with their lines, `kept` what the recipe makes of it."""
    read, leaks, left, left_leaks = 0, [], 0, 0
    for line, text in texts:
        read += 1
        leaks += [Leak(line, len(words(text)), match) for match in sorted(held_out.matches(text), key=str)]
    for text in kept:
        left += 1
        left_leaks += held_out.touches(text)
    found = Search(stage, source, read, tuple(leaks), left, left_leaks)
    print(f"{source}: {read:,} texts, {found.leaking} leak, {left_leaks} after the filter", file=sys.stderr, flush=True)
    return found


def table(searches: Sequence[Search]) -> str:
    """Markdown, a row a file and one a stage; columns padded, so that it serves the terminal too."""
    rows = [["stage", "file", "texts", "exact", f"under {FEWEST} words", "contained", f"{RUN} words", "after filter"]]
    for stage in ("tag", "text"):
        mine = [one for one in searches if one.stage == stage]
        rows += [_fields(stage, one.source, [one]) for one in mine]
        rows.append(_fields(stage, "all", mine))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width if at < 2 else "-" * (width - 1) + ":" for at, width in enumerate(widths)])
    return "".join(f"| {' | '.join(map(_padded, row, widths, range(len(row))))} |\n" for row in rows)


def _fields(stage: str, source: str, searches: Sequence[Search]) -> list[str]:
    counts = [sum(one.texts for one in searches), *(sum(one.count(kind) for one in searches) for kind in KINDS)]
    counts.insert(2, sum(one.short for one in searches))
    counts.append(sum(one.kept_leaks for one in searches))
    return [stage, source, *(f"{count:,}" for count in counts)]


def _padded(field: str, width: int, column: int) -> str:
    return field.ljust(width) if column < 2 else field.rjust(width)


def to_page(document: dict[str, Any], searches: Sequence[Search]) -> str:
    """The Markdown page: the table, what its columns mean, and every leak of the tag stage by its lines."""
    machine = document["machine"]
    tag = [(one, leak) for one in searches if one.stage == "tag" for leak in one.leaks]
    held_out = Counter(
        (leak.match.place.dataset, leak.match.place.file.partition(".")[0]) for _, leak in tag if leak.words >= FEWEST
    )
    listed = "".join(
        f"| {one.source} | {leak.line} | {leak.words} | {leak.match.kind} | {leak.match.place.dataset}/"
        f"{leak.match.place.file} | {leak.match.place.line} |\n"
        for one, leak in tag
    )
    seen = ", ".join(f"{count} of {name} ({split})" for (name, split), count in sorted(held_out.items())) or "none"
    return f"""# Leaks

{document["development_texts"]:,} texts of the development sets, every split and every draw of seeds, looked for in all
that the recipe of the embedded base reads: annotated rows in the tag stage, paragraphs of open text in a text stage.
The sets: {", ".join(DEVELOPMENT)}.

{table(searches)}
- exact: the whole texts are the same, letter case, white space and punctuation aside; of these, the next column has
  fewer than {FEWEST} words, mostly a single one
- contained: a development text of {FEWEST} to {RUN - 1} words stands within a longer text, often by chance: some
  texts of mit_movie are a film's title
- {RUN} words: that many in a row are the same; a text counts once, in the first column that holds it
- after filter: what is left of all these in the texts that the recipe trains on; `examples/base/heldout.py` builds its
  index of the development sets at run time and leaves out every text counted here

The base that ships read the first 4.2 M of its 9.7 M tokens, all in the tag stage, before there was a filter. Texts of
at least {FEWEST} words that
its rows share with development texts: {seen}.

- date: {document["date"]}, commit {document["commit"] or "unknown"}; {document["seconds"]} s on {machine["cpu"]}

## The tag stage's leaks, by line
| training file | line | words | kind | development file | line |
|---|---:|---:|---|---|---:|
{listed}
Those of the open text are in the JSON file beside this page.
"""


def _strength(leak: Leak) -> int:
    return KINDS.index(leak.match.kind)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help=f"the first {QUICK:,} paragraphs a file, own results")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder of the NER sets")
    parser.add_argument("--text", type=Path, help="folder of the open text; default: `text` beside --data")
    parser.add_argument("--json", type=Path, help="result, with a .md beside it; default: in results/", metavar="FILE")
    options = parser.parse_args()
    options.text = options.text or options.data.parent / "text"
    return options


if __name__ == "__main__":
    main()
