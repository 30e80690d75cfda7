"""The house of docs and design: who may import whom, who may import what, and how large a room or a file may get.

Read from the syntax trees, so an import inside a function or behind TYPE_CHECKING counts as well for the layers.
"""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("engine", "adapters", "cli")

CONTRACT = {
    "engine": set(),
    "engine/bases": {"engine"},
    "engine/tagging": {"engine", "engine/bases"},
    "engine/reading": {"engine"},
    "engine/writing": {"engine", "engine/reading"},
    "engine/run": {"engine", "engine/tagging", "engine/reading", "engine/writing"},
    "engine/review": {"engine", "engine/bases", "engine/tagging", "engine/reading", "engine/writing"},
    "adapters": {"engine", "engine/bases", "engine/tagging", "engine/review"},
    "adapters/priming": {"engine", "engine/bases", "engine/tagging", "adapters"},
    "cli": {
        "engine",
        "engine/bases",
        "engine/tagging",
        "engine/reading",
        "engine/writing",
        "engine/run",
        "engine/review",
        "adapters",
        "adapters/priming",
    },
}
"""Room -> the other rooms whose files it may import."""

MOST_FILES = {room: 16 if room.startswith("engine") else 20 for room in CONTRACT}

MAX_LINES = 300

TERMINAL = {"typer", "rich", "jinja2"}
TORCH = ("allocator", "batching", "decoder", "drafter", "loading", "model", "output_head", "packing", "slots")
MAY_IMPORT = {
    "torch": {"engine/bases/convert", "engine/bases/delta"}
    | {f"engine/tagging/{name}" for name in TORCH}
    | {f"adapters/{name}" for name in ("batch", "kernels", "loss", "objective", "fusion", "trainer")}
    | {f"adapters/priming/{name}" for name in ("checkpoint", "folder", "history")}
    | {f"adapters/priming/{name}" for name in ("learner", "lora", "pupil", "work")},
    "peft": {"engine/tagging/loading", "adapters/trainer"},
    "pyarrow": {
        "engine/columns",
        "engine/foreign",
        "engine/reading",
        "engine/writing",
        "engine/review",
        "engine/run/frame",
    }
    | {"engine/run/retry", "adapters/reader"},
    "fsspec": {"engine/reading"},
    "polars": {"engine/run/frame"},
    "ray": {"engine/run/ray_backend"},
}
"""Third-party name -> the only rooms and files, below cli, that may load it."""

NO_ARROW = {
    "engine/reading/record",
    *(f"engine/writing/{name}" for name in ("atomic", "fingerprint", "growing", "growing_sink", "increment", "lock")),
    *(f"engine/writing/{name}" for name in ("manifest", "output", "place", "sink")),
    *(f"engine/review/{name}" for name in ("comparison", "metrics", "openmetrics", "pace", "report", "verification")),
}
"""Files of these rooms that nevertheless load no pyarrow: without it they are quick to import, and know no columns."""

PACKAGE_FILES = sorted([*ROOT.glob("*.py"), *(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))])
ALL_FILES = sorted({*PACKAGE_FILES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")})


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").as_posix()


def room_of(name: str) -> str:
    """The folder of a file named as :func:`name_of` does; empty for the files at the root."""
    return name.rpartition("/")[0]


FILES = {name_of(path): path for path in PACKAGE_FILES}
IN_ROOMS = {name: path for name, path in FILES.items() if room_of(name)}


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(level, dotted name) of each import; `from ..engine.span import Span` is (2, "engine.span")."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module:
                yield node.level, node.module
            # `from ..run import pipeline` may name a file or something inside one.
            if node.level or not node.module:
                start = f"{node.module}." if node.module else ""
                yield from ((node.level, start + alias.name) for alias in node.names)


def imported_files(name: str) -> set[str]:
    """The files of the package's rooms that a file imports relatively."""
    found = set()
    for level, dotted in imports(ast.parse(IN_ROOMS[name].read_bytes())):
        if level:
            folder = name.split("/")[:-level]
            found.add("/".join([*folder, *dotted.split(".")]))
    return found & IN_ROOMS.keys()


def runtime_imports(path: Path) -> set[str]:
    """First parts of absolute imports, those under `if TYPE_CHECKING` left out: they load nothing."""
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = [ast.Pass()]
    return {name.split(".")[0] for level, name in imports(tree) if level == 0}


@pytest.mark.parametrize("name", sorted(IN_ROOMS))
def test_imports_go_from_cli_to_adapters_to_engine_and_never_back(name: str) -> None:
    assert room_of(name) in CONTRACT, f"{room_of(name)} is a new room: give it a place in CONTRACT"
    for target in imported_files(name):
        allowed = CONTRACT[room_of(name)] | {room_of(name)}
        assert room_of(target) in allowed, f"{name} imports {target}, which is not below it"
    for level, dotted in imports(ast.parse(IN_ROOMS[name].read_bytes())):
        assert not (level == 0 and dotted.split(".")[0] == "nerx"), f"{name} imports {dotted}; write it relatively"
        assert level <= len(name.split("/")), f"{name} imports from outside the package"


def test_no_imports_go_in_a_circle() -> None:
    graph = {name: imported_files(name) for name in IN_ROOMS}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"these files import each other: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("path", PACKAGE_FILES, ids=name_of)
def test_third_party_names_stay_behind_their_borders(path: Path) -> None:
    name, found = name_of(path), runtime_imports(path)
    if room_of(name) == "cli":
        return
    assert not found & TERMINAL, f"{name} imports {found & TERMINAL}; only cli may"
    for library, places in MAY_IMPORT.items():
        assert library not in found or {name, room_of(name)} & places, f"{name} imports {library}"
    assert not (name in NO_ARROW and "pyarrow" in found), f"{name} imports pyarrow"


@pytest.mark.parametrize("path", ALL_FILES, ids=name_of)
def test_no_file_loads_a_second_copy_of_a_layer(path: Path) -> None:
    assert not runtime_imports(path) & set(LAYERS), f"{name_of(path)} imports a layer as a top-level package"


@pytest.mark.parametrize("path", PACKAGE_FILES, ids=name_of)
def test_no_file_is_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("room", CONTRACT)
def test_no_room_is_crowded(room: str) -> None:
    files = [name for name in IN_ROOMS if room_of(name) == room and not name.endswith("/__init__")]
    assert len(files) <= MOST_FILES[room], f"{room} holds {len(files)} files: does the design want to change?"


@pytest.mark.parametrize("room", CONTRACT)
def test_opening_a_room_loads_nothing(room: str) -> None:
    tree = ast.parse((ROOT / room / "__init__.py").read_bytes())
    assert ast.get_docstring(tree)
    assert list(imports(tree)) == []
