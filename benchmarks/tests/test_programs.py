"""The order of the benchmarks: programs stand alone, and README says how each is started and what it writes."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted((ROOT / "benchmarks").rglob("*.py"))
    if path.parent.name != "tests"
}
PROGRAMS = [name for name, path in FILES.items() if '__name__ == "__main__"' in path.read_text(encoding="utf-8")]


def imported(name: str) -> Iterator[str]:
    """The modules of the benchmarks that a file may import, as full names."""
    for node in ast.walk(ast.parse(FILES[name].read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.level:
            start = ".".join([*name.split(".")[: -node.level], *filter(None, [node.module])])
            yield start
            yield from (f"{start}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("name", FILES)
def test_no_file_imports_a_program(name: str) -> None:
    assert not set(imported(name)) & set(PROGRAMS)


@pytest.mark.parametrize("name", [name for name in FILES if ".lab" in name])
def test_the_lab_knows_no_room(name: str) -> None:
    assert all(module.startswith("benchmarks.lab") for module in imported(name))


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_readme_says_how_a_program_is_started(name: str) -> None:
    assert f"python -m {name}" in README
