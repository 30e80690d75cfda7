"""The house of docs and design: who may import whom, who may import what, and how long a file may get.

Read from the syntax trees, so an import inside a function or behind TYPE_CHECKING counts as well for the layers.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("engine", "adapters", "cli")
MAX_LINES = 320

# Inside engine a file imports only files on its left. Guide stands before prompt, whose decisions are its steps;
# store to parquet are the input's places and formats that corpus opens.
ENGINE_ORDER = [
    *(
        "errors",
        "disclosure",
        "stopwatch",
        "allocator",
        "span",
        "label",
        "tags",
        "chunk",
        "metrics",
        "guide",
        "prompt",
        "card",
        "drafter",
        "output_head",
        "model",
    ),
    *("batching", "proposal", "slots", "decoder", "extractor", "pace", "recall"),
    *("store", "prefix", "listing"),
    *("fingerprint", "publication", "place", "lock", "manifest", "increment"),
    *("share", "record", "source", "entity", "jsonl", "delimited", "plaintext", "line", "parquet"),
    *("corpus", "tally", "staging", "store_output", "output", "part", "growing"),
    *("writer", "shard_sink", "sink", "store_sink", "shared_sink", "growing_sink", "pipeline", "frame", "retry"),
    *("ray_backend", "failure", "report", "openmetrics", "published", "comparison", "verification"),
]

TERMINAL = {"typer", "rich", "jinja2"}
READERS = {"record", "source", "entity", "jsonl", "delimited", "plaintext", "line", "parquet"}
FILES = {"store", "prefix", "listing", *READERS}
SINKS = {
    *("corpus", "staging", "store_output", "output", "part", "writer", "sink", "shared_sink", "retry", "frame"),
    *("failure", "published"),
}
MAY_IMPORT = {
    "torch": {f"engine/{name}" for name in ("output_head", "model", "drafter", "slots", "decoder")}
    | {f"adapters/{name}" for name in ("dataset", "loss", "objective", "fusion", "trainer")},
    "peft": {"engine/model", "adapters/trainer"},
    "pyarrow": {f"engine/{name}" for name in FILES | SINKS},
    "fsspec": {f"engine/{name}" for name in FILES | {"corpus", "sink"}},
    "ray": {"engine/ray_backend"},
}
"""Third-party name -> the only files, below cli, that may load it."""

PACKAGE_FILES = sorted([*ROOT.glob("*.py"), *(path for layer in LAYERS for path in (ROOT / layer).glob("*.py"))])
ALL_FILES = sorted({*PACKAGE_FILES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")})


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").as_posix()


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(level, dotted name) of each import; `from ..engine.span import Span` is (2, "engine.span")."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module:
                yield node.level, node.module
            else:
                yield from ((node.level, alias.name) for alias in node.names)


def runtime_imports(path: Path) -> set[str]:
    """First parts of absolute imports, those under `if TYPE_CHECKING` left out: they load nothing."""
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = [ast.Pass()]
    return {name.split(".")[0] for level, name in imports(tree) if level == 0}


@pytest.mark.parametrize("path", PACKAGE_FILES, ids=name_of)
def test_imports_go_from_cli_to_adapters_to_engine_and_never_back(path):
    if path.parent == ROOT:
        return
    own = LAYERS.index(path.parent.name)
    for level, name in imports(ast.parse(path.read_bytes())):
        target = name.split(".")[0]
        assert not (level == 2 and target in LAYERS[own + 1 :]), f"{name_of(path)} imports ..{name}"
        assert not (level == 0 and target == "nerx"), f"{name_of(path)} imports {name}; write it relatively"
        assert level <= 2, f"{name_of(path)} imports from outside the package"


@pytest.mark.parametrize("path", sorted((ROOT / "engine").glob("*.py")), ids=name_of)
def test_inside_engine_imports_go_one_way(path):
    if path.stem == "__init__":
        return
    assert path.stem in ENGINE_ORDER, f"engine/{path.name} has no place in ENGINE_ORDER; give it one"
    before = ENGINE_ORDER[: ENGINE_ORDER.index(path.stem)]
    for level, name in imports(ast.parse(path.read_bytes())):
        assert level != 1 or name.split(".")[0] in before, f"engine/{path.name} imports .{name}, which comes later"


@pytest.mark.parametrize("path", PACKAGE_FILES, ids=name_of)
def test_third_party_names_stay_behind_their_borders(path):
    found = runtime_imports(path)
    if path.parent.name != "cli":
        assert not found & TERMINAL, f"{name_of(path)} imports {found & TERMINAL}; only cli may"
        for library, files in MAY_IMPORT.items():
            assert library not in found or name_of(path) in files, f"{name_of(path)} imports {library}"


@pytest.mark.parametrize("path", ALL_FILES, ids=name_of)
def test_no_file_loads_a_second_copy_of_a_layer(path):
    assert not runtime_imports(path) & set(LAYERS), f"{name_of(path)} imports a layer as a top-level package"


@pytest.mark.parametrize("path", PACKAGE_FILES, ids=name_of)
def test_no_file_is_long(path):
    assert len(path.read_text().splitlines()) <= MAX_LINES


def test_the_three_folders_are_flat():
    nested = [name_of(path) for layer in LAYERS for path in (ROOT / layer).glob("*/**/*.py")]
    assert nested == []
