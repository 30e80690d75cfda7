"""The wheel: built from a copy of this tree, looked into, installed elsewhere and run there."""

import os
import shutil
import subprocess
import sys
import zipfile
from itertools import chain
from pathlib import Path

import pytest

import nerx

ROOT = Path(__file__).parents[1]
PACKAGES = ("cli", "adapters", "engine")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built without a network, from a copy: setuptools leaves build folders behind, and picks stale ones up."""
    source = tmp_path_factory.mktemp("source") / "any-name"
    ignored = shutil.ignore_patterns(
        ".*", "build", "dist", "*.egg-info", "__pycache__", "work", "results", "nerx-adapter"
    )
    shutil.copytree(ROOT, source, ignore=ignored)
    out = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", str(out), str(source)], check=True)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True)
    return target


def run(installed: Path, *arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    return done.stdout


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"nerx-{nerx.__version__}.dist-info/"
    files = [*ROOT.glob("*.py"), *(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))]
    modules = {f"nerx/{path.relative_to(ROOT).as_posix()}" for path in files}
    folders = ("engine/embedded", "engine/bases/smollm2")
    base = {f"nerx/{folder}/{path.name}" for folder in folders for path in (ROOT / folder).glob("*")}
    inside = {name for name in names if not name.startswith(info)}
    assert inside == modules | base | {"nerx/py.typed"}
    assert {f"{info}METADATA", f"{info}entry_points.txt", f"{info}licenses/LICENSE"} <= names


def test_it_runs_away_from_the_tree(installed: Path, tmp_path: Path) -> None:
    home = run(installed, "-c", "import nerx; print(nerx.__file__)", cwd=tmp_path)
    assert Path(home.strip()).is_relative_to(installed)
    assert run(installed, "-m", "nerx", "--version", cwd=tmp_path) == f"nerx {nerx.__version__}\n"
    assert "Usage: nerx" in run(installed, "-m", "nerx", "--help", cwd=tmp_path)
    assert (installed / "bin/nerx").exists()


def test_all_that_the_package_offers_can_be_had(installed: Path, tmp_path: Path) -> None:
    code = "import nerx; print(*(getattr(nerx, name).__name__ for name in nerx.__all__))"
    assert run(installed, "-c", code, cwd=tmp_path).split() == nerx.__all__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'nerx' has no attribute 'nonsense'"):
        nerx.nonsense  # noqa: B018


def test_pins_lie_within_the_ranges_of_the_project() -> None:
    """Every dependency has a pin, and every pin satisfies what pyproject.toml promises."""
    import tomllib

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}
    for requirement in map(Requirement, wanted):
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier, requirement
