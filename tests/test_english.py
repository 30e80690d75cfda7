"""docs/check_english.py: what counts as a sentence, and which pages pass."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import check_english
import pytest
import typer
from check_english import LONGEST, MOST_LONG, Sentence, check, check_help, ease, help_text, sentences
from typer.main import get_command

PLAIN = "nerx copies every row. It adds two columns. You can read them with any tool.\n"
LONG = "The row is " + "very " * LONGEST + "long.\n"


def texts(page: str) -> list[str]:
    return [sentence.text for sentence in sentences(page)]


def test_a_sentence_knows_its_line() -> None:
    page = "# Title\n\nThe first one\nhas two lines. The second\nends here.\n"
    assert list(sentences(page)) == [Sentence(3, "The first one has two lines."), Sentence(4, "The second ends here.")]


def test_numbers_and_names_of_files_do_not_end_a_sentence() -> None:
    assert texts("It takes 0.4 seconds. See seeds.jsonl for more (Tang et al. 2024). nerx goes on.") == [
        "It takes 0.4 seconds.",
        "See seeds.jsonl for more (Tang et al 2024).",
        "nerx goes on.",
    ]


@pytest.mark.parametrize(
    "block",
    [
        "```text\n$ nerx extract corpus.parquet. It is long.\n```\n",
        "    nerx fit seeds.jsonl\n    nerx extract corpus.parquet\n",
        "| option | meaning |\n|---|---|\n| `--limit` | Stop after N rows. |\n",
        "![A picture. With words.](picture.svg)\n",
        "## A heading\n",
    ],
    ids=["fenced", "indented", "table", "picture", "heading"],
)
def test_what_is_no_prose_does_not_count(block: str) -> None:
    assert texts(f"Look here:\n\n{block}\nThen go on.\n") == ["Look here:", "Then go on."]


def test_code_is_one_word_and_a_link_is_its_text() -> None:
    (sentence,) = sentences("See **[the page](https://example.org/a/b)** for `--min-score 0.5 --json`.")
    assert sentence.text == "See the page for code."
    assert len(sentence.words) == 5


def test_each_item_of_a_list_is_a_sentence() -> None:
    assert texts("Two ways:\n\n- the first,\n  with a second line\n- the second\n1. and a third\n") == [
        "Two ways:",
        "the first, with a second line",
        "the second",
        "and a third",
    ]


def test_short_words_and_sentences_are_easier() -> None:
    hard = "Notwithstanding considerable organisational difficulties, administrators deliberately reconsidered."
    assert ease(list(sentences("The cat sat on the mat."))) > 100 > 0 > ease(list(sentences(hard)))


def test_a_plain_page_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "page.md").write_text(PLAIN)
    assert check(tmp_path / "page.md")
    assert "0 of 3 sentences" in capsys.readouterr().out


def test_long_sentences_fail_a_page_and_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(PLAIN + "\n" + LONG)
    assert not check(page)
    assert f"{page}:3: {LONGEST + 4} words" in capsys.readouterr().out


def test_a_long_sentence_among_many_short_ones_passes(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("It is short.\n\n" * round(1 / MOST_LONG) + LONG)
    assert check(tmp_path / "page.md")


def test_hard_words_fail_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("Administrators reconsidered organisational difficulties.\n")
    assert not check(page)
    assert f"{page}:1: 4 words" in capsys.readouterr().out


def command(help_page: str, option: str) -> Any:
    app = typer.Typer(rich_markup_mode="rich", add_completion=False)

    @app.command(help=help_page)
    def work(limit: Annotated[int, typer.Option(help=option)] = 1) -> None: ...

    return get_command(app)


def test_a_help_text_is_its_paragraphs_and_options_without_examples_and_layout() -> None:
    page = "Read [cyan]all[/] rows.\n\n  nerx extract\n\nIt is quick.\n\n[bold not dim]Examples[/]\n\n  nerx base\n"
    assert texts(help_text(command(page, "Stop early."))) == ["Read all rows.", "It is quick.", "Stop early."]


def test_hard_help_fails_and_is_named_by_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_help("base get", command("Read the row. Add its names.", "Stop after N rows."))
    assert not check_help("base get", command("Read the row.", "The rows, " + "and more, " * LONGEST))
    assert f"nerx base get --help: {2 + 2 * LONGEST} words" in capsys.readouterr().out


def test_the_pages_of_this_repository_pass() -> None:
    done = subprocess.run([sys.executable, check_english.__file__], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "README.md: ease" in done.stdout
    assert "nerx extract --help: ease" in done.stdout
    assert "nerx base get --help: ease" in done.stdout
    assert "docs/help.md" not in done.stdout
