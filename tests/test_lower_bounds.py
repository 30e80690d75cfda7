"""The lower bounds of pyproject.toml, installed for real: nerx learns and extracts, and one process at a time writes.

torch is left out: it is gigabytes large, and its bound is that of what else is needed.
"""

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
LEFT_OUT = {"torch"}
WRITERS, TURNS = 4, 400

WRITE = """
import sys
from pathlib import Path
from nerx.engine.errors import OutputLockedError
from nerx.engine.writing.lock import OutputLock

folder, turns, done = Path(sys.argv[1]), int(sys.argv[2]), 0
while done < turns:
    try:
        with OutputLock(folder / "lock", "out"):
            inside = folder / "inside"
            inside.touch(exist_ok=False)  # raises where another writer is inside
            inside.unlink()
            done += 1
    except OutputLockedError:
        pass
"""


def lower_bounds() -> list[str]:
    """`name==version` of every dependency."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = []
    for requirement in map(Requirement, project["dependencies"]):
        (bound,) = (spec.version for spec in requirement.specifier if spec.operator == ">=")
        if requirement.name not in LEFT_OUT:
            found.append(f"{requirement.name}=={bound}")
    return found


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the lower bounds. What they need besides comes from this one."""
    home = tmp_path_factory.mktemp("lower")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    program = home / "bin" / "python"
    (site,) = home.glob("lib/python3*/site-packages")
    outer = sysconfig.get_paths()["purelib"]
    (site / "outer.pth").write_text(f"import site; site.addsitedir({outer!r})\n")  # also nerx, installed from its tree
    command = [str(program), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *lower_bounds()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip cannot install the lower bounds: {done.stderr.strip().splitlines()[-1]}")
    return program


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_nerx_works_with_its_lower_bounds(python: Path, tiny_base: Path, seed_file: Path, tmp_path: Path) -> None:
    def nerx(*arguments: object) -> str:
        command = [str(python), "-m", "nerx", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    wanted = [name.replace("==", " ").split() for name in lower_bounds()]
    say = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    names = [name for name, _ in wanted]
    versions = subprocess.run([str(python), "-c", say, *names], capture_output=True, text=True, check=True)
    for found, (_, bound) in zip(versions.stdout.split(), wanted, strict=True):
        assert found == bound or found.startswith(f"{bound}.")
    nerx("fit", seed_file, "--base", tiny_base, "--out", "adapter", "--epochs", 1, "--rank", 2)
    rows = [{"id": n, "text": f"Ada met Bob in Rome, {n}."} for n in range(20)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = json.loads(nerx("extract", "in.jsonl", "--adapter", "adapter", "--json"))
    assert (told["rows"], told["failures"]) == (20, 0)
    nerx("inspect", "in.nerx.parquet", "--verify", "--adapter", "adapter")
    nerx("view", "in.nerx.parquet")


@pytest.mark.slow
def test_the_lower_bound_of_the_lock_lets_one_writer_in(python: Path, tmp_path: Path) -> None:
    command = [str(python), "-c", WRITE, str(tmp_path), str(TURNS)]
    quiet = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=quiet) for _ in range(WRITERS)]
    for writer in writers:
        _, said = writer.communicate()
        assert (writer.returncode, said) == (0, "")
