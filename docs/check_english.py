"""Says whether pages and help texts read easily: Flesch reading ease of each, and sentences of more than 25 words.

python docs/check_english.py [PAGE...]     without a PAGE: all pages of the repository, and `--help` of every command

Looks at sentences only: code, tables, headings and link targets do not count, and `code` in a sentence is one word.
The formula and the syllables are those of `readability`, which needs no network and is under Apache-2.0; textstat
downloads its dictionary when it runs, or brings one under the GPL. Exits with 1 when a page is below the floor.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import readability
from build_help import commands

FLOOR = 70.0
"""Least reading ease of a page. Of 100 at most, 60 is "plain English" in Flesch's table, and 70 is "fairly easy"."""
LONGEST = 25
"""Words of a sentence that is still easy to keep in mind."""
MOST_LONG = 0.05
"""Share of a page's sentences that may be longer."""
NAMED = 5
"""So many of the hardest sentences are listed for a page that fails."""

ROOT = Path(__file__).parents[1]
GLOBS = ("*.md", "docs/*.md", "examples/*/README.md", "benchmarks/README.md")
GENERATED = {ROOT / "docs/help.md"}

_ITEM = re.compile(r"^\s*([-*]|\d+\.)\s+")
_SENTENCE = re.compile(r"\S.*?(?:[.!?][)\"*]*(?=\s)|$)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Sentence:
    """`text` without markup. `line` counts from 1; 0 is for help texts, which have no lines."""

    line: int
    text: str

    @property
    def place(self) -> str:
        return f":{self.line}" if self.line else ""

    @property
    def words(self) -> list[str]:
        return re.findall(r"[\w'’.,/-]*\w", self.text)


def sentences(page: str) -> Iterator[Sentence]:
    """The sentences of a Markdown page, in order."""
    page = re.sub(r"^```.*?^```$", lambda block: "\n" * block[0].count("\n"), page, flags=re.MULTILINE | re.DOTALL)
    paragraph: list[tuple[int, str]] = []
    for number, line in enumerate([*page.splitlines(), ""], start=1):
        is_code = line.startswith("    ") and not paragraph
        if _ITEM.match(line) or is_code or not line.strip() or line.lstrip().startswith(("#", "|", "<", "![")):
            yield from _split(paragraph)
            paragraph = []
        if _ITEM.match(line) or (line.strip() and not is_code and not line.lstrip().startswith(("#", "|", "<", "!["))):
            paragraph.append((number, _ITEM.sub("", line, count=1)))


def _split(paragraph: Sequence[tuple[int, str]]) -> Iterator[Sentence]:
    text = "\n".join(line for _, line in paragraph).replace("et al.", "et al")
    for match in _SENTENCE.finditer(text):
        plain = re.sub(r"`[^`]+`", "code", match[0])
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|\*", r"\1", plain)
        yield Sentence(paragraph[text.count("\n", 0, match.start())][0], " ".join(plain.split()))


def ease(found: Sequence[Sentence]) -> float:
    """Flesch reading ease: 206.835 - 1.015 words a sentence - 84.6 syllables a word (Flesch 1948)."""
    lines = [" ".join(sentence.words) for sentence in found]
    return float(readability.getmeasures(lines, lang="en")["readability grades"]["FleschReadingEase"])


def help_text(command: Any) -> str:
    """What a command's help says, as a Markdown page: its paragraphs without the examples, then an item per option."""
    told = re.sub(r"\\?\[/?[^\]]*\]", "", (command.help or "").partition("[bold not dim]Examples")[0])
    prose = [line for line in told.splitlines() if not line.startswith("  ")]
    items = [f"- {param.help}" for param in command.params if getattr(param, "help", None)]
    return "\n".join([*prose, "", *items])


def check(path: Path) -> bool:
    """Print the figures of a page, and its hardest sentences if it is below the floor. Returns whether it passes."""
    name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    return judge(str(name), sentences(path.read_text(encoding="utf-8")))


def check_help(name: str, command: Any) -> bool:
    """The same for the help text of one command; `name` is that of `commands`."""
    found = (Sentence(0, one.text) for one in sentences(help_text(command)))
    return judge(" ".join(["nerx", *name.split(), "--help"]), found)


def judge(name: str, page: Iterable[Sentence]) -> bool:
    """Print the figures of the sentences of one page. Returns whether it passes."""
    found = [sentence for sentence in page if sentence.words]
    long = [sentence for sentence in found if len(sentence.words) > LONGEST]
    figure, share = ease(found), len(long) / len(found)
    passes = figure >= FLOOR and share <= MOST_LONG
    lines = [f"{name}: ease {figure:.1f}, {len(long)} of {len(found)} sentences over {LONGEST} words"]
    if not passes:
        lines[0] += f"; wanted: ease {FLOOR:.0f}, at most {MOST_LONG:.0%}"
        hard = sorted(found, key=lambda one: (len(one.words) <= LONGEST, ease([one])))[:NAMED]
        lines += [f"{name}{one.place}: {len(one.words)} words, ease {ease([one]):.0f}: {one.text}" for one in hard]
    sys.stdout.write("\n".join(lines) + "\n")
    return passes


def main() -> int:
    pages = [Path(name) for name in sys.argv[1:]] or [path for glob in GLOBS for path in sorted(ROOT.glob(glob))]
    passed = [check(path) for path in pages if path not in GENERATED]
    if not sys.argv[1:]:
        passed += [check_help(name, command) for name, command in commands()]
    return int(not all(passed))


if __name__ == "__main__":
    sys.exit(main())
