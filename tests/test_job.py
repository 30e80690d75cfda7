"""`nerx run`: every option of extract can be written down, in one order of precedence, and mistakes name their line."""

import json
import tomllib
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from commands import Nerx
from typer.core import TyperGroup
from typer.main import get_command

from nerx.cli.app import app
from nerx.cli.job import resolved
from nerx.cli.run import EnvironmentCommand, JobCommand

Job = Callable[[str], Path]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Writes a job file, in a folder that is not the current one."""

    def write(text: str) -> Path:
        path = tmp_path / "jobs" / "nightly.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def commands() -> dict[str, Any]:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    return dict(group.commands)


def options_of_extract() -> list[Any]:
    return [param for param in commands()["extract"].params if param.name != "help"]


def show(nerx: Nerx, *arguments: object) -> dict[str, Any]:
    """The job as it would run."""
    done = nerx("run", *arguments, "--dry-run", "--json")
    assert done.code == 0, done.err
    shown: dict[str, Any] = json.loads(done.out)
    return shown


def a_value(param: Any) -> object:
    """A value that `param` takes and that is not its default."""
    kind = param.type_descriptor.annotation if hasattr(param, "type_descriptor") else None
    if getattr(param, "is_flag", False):
        return True
    if isinstance(kind, type) and issubclass(kind, Enum):
        return list(kind)[-1].value
    if kind is int:
        return 3
    if kind is float:
        return 0.25
    if kind is bool:
        return True
    return "/data/x"


@pytest.mark.parametrize("param", options_of_extract(), ids=lambda param: param.name)
def test_every_option_of_extract_is_reachable_from_the_file(param: Any, nerx: Nerx, job: Job) -> None:
    value = a_value(param)
    line = f"{param.name} = {json.dumps(value)}\n"
    path = job(line if param.name == "corpus" else f'corpus = "a.parquet"\n{line}')
    if param.name == "dry_run":
        assert "a.parquet" in nerx("run", path).out
        return
    shown = show(nerx, path)
    assert shown["job"][param.name] in (value, [value])
    if param.name != "json":
        assert shown["sources"][param.name] == f"{path}:{1 if param.name == 'corpus' else 2}"


def test_run_has_the_parameters_of_extract_and_the_file() -> None:
    known = [param.name for param in commands()["extract"].params]
    assert [param.name for param in commands()["run"].params] == ["job", *known]


def test_every_option_of_extract_is_reachable_from_the_environment() -> None:
    for name, kind in (("extract", EnvironmentCommand), ("run", JobCommand)):
        command = commands()[name]
        assert isinstance(command, kind)
        options = [param for param in command.params if param.param_type_name == "option" and param.name != "help"]
        assert len(options) > 10
        assert {param.name: param.envvar for param in options} == {p.name: f"NERX_{p.name.upper()}" for p in options}


def test_flag_environment_file_default(nerx: Nerx, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    path = job('corpus = "a.parquet"\nlimit = 1\nmin_score = 0.5\n')
    assert show(nerx, path)["job"]["limit"] == 1
    assert show(nerx, path)["sources"]["text_unit"] == "default"
    monkeypatch.setenv("NERX_LIMIT", "2")
    assert show(nerx, path)["job"]["limit"] == 2
    shown = show(nerx, path, "--limit", 3)
    assert (shown["job"]["limit"], shown["sources"]["limit"]) == (3, "command line")
    assert shown["sources"]["min_score"] == f"{path}:3"
    monkeypatch.delenv("NERX_LIMIT")
    assert show(nerx, path, "/other.parquet")["job"]["corpus"] == ["/other.parquet"]


def test_the_environment_speaks_to_extract_too(nerx: Nerx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NERX_LIMIT", "many")
    done = nerx("extract", tmp_path / "a.parquet")
    assert done.code == 2
    assert "NERX_LIMIT" in done.err or "--limit" in done.err


def test_relative_paths_are_relative_to_the_file(nerx: Nerx, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    path = job(
        'corpus = ["a.parquet", "/data/b.parquet", "s3://lake/c.parquet", "../d/*.csv"]\nadapter = "adapter"\n'
        'out = "out.parquet"\nbase = "Qwen/Qwen3-0.6B"\nreport = "report.json"\ntext_column = "body"\n'
    )
    folder = path.parent
    shown = show(nerx, path)["job"]
    assert shown["corpus"] == [
        str(folder / "a.parquet"),
        "/data/b.parquet",
        "s3://lake/c.parquet",
        str(folder / "../d/*.csv"),
    ]
    assert (shown["adapter"], shown["out"]) == (str(folder / "adapter"), str(folder / "out.parquet"))
    assert (shown["report"], shown["text_column"]) == (str(folder / "report.json"), "body")
    assert shown["base"] == "Qwen/Qwen3-0.6B"
    (folder / "Qwen/Qwen3-0.6B").mkdir(parents=True)
    assert show(nerx, path)["job"]["base"] == str(folder / "Qwen/Qwen3-0.6B")


def test_what_is_shown_is_a_job_file_for_the_same_job(nerx: Nerx, job: Job) -> None:
    path = job("# comment\ncorpus = ['a \"b\" ü.parquet']\nmin-score = 1\noverwrite = true\n")
    first = nerx("run", path, "--dry-run", "--limit", 5).out
    again = nerx("run", job(first), "--dry-run").out
    assert tomllib.loads(first) == tomllib.loads(again)
    assert tomllib.loads(first)["min_score"] == 1
    assert f"# {path}:4" in first


def test_values_are_written_as_toml() -> None:
    values = {"a": 'x"\\\n\x7fü', "b": [1, 2.5], "c": True, "d": None, "e": Path("x")}
    assert tomllib.loads(resolved(values, dict.fromkeys(values, "here"))) == {
        "a": 'x"\\\n\x7fü',
        "b": [1, 2.5],
        "c": True,
        "e": "x",
    }


CORPUS = 'corpus = "a.parquet"\n'
MISTAKES = {
    "unknown, close": (CORPUS + "\nlimt = 3\n", ":3: unknown key 'limt'; did you mean 'limit'?"),
    "unknown, dashes": (CORPUS + "min-scores = 3\n", ":2: unknown key 'min-scores'; did you mean 'min_score'?"),
    "unknown, far": (CORPUS + "colour = 3\n", ":2: unknown key 'colour'; nerx extract has "),
    "a table": (CORPUS + "[extract]\nlimit = 3\n", ":2: unknown key 'extract'"),
    "twice": (CORPUS + "min-score = 1\nmin_score = 1\n", ":3: 'min_score' is given twice"),
    "no TOML": (CORPUS + "limit = \n", ":2: not valid TOML: Invalid value"),
    "no TOML at the end": (CORPUS + "limit = [1,", ":2: not valid TOML"),
    "a fraction": (CORPUS + "limit = 2.7\n", ":2: limit = 2.7 is not a whole number"),
    "a flag as a text": (CORPUS + 'overwrite = "no"\n', ':2: overwrite = "no" is not true or false'),
    "a flag as a number": (CORPUS + "limit = true\n", ":2: limit = true is not a whole number"),
    "a number as a text": (CORPUS + 'min_score = "0.5"\n', ':2: min_score = "0.5" is not a number'),
    "a path as a number": ("\n\ncorpus = 3\n", ":3: corpus = 3 is not a string or a list of strings"),
    "a date": (CORPUS + "out = 2026-01-02\n", ':2: out = "2026-01-02" is not a string in quotes'),
    "out of range": (CORPUS + "limit = 0\n", ":2: limit: Input should be greater than or equal to 1"),
    "no such choice": (CORPUS + 'device = "tpu"\n', ":2: device: 'tpu' is not one of"),
    "no corpus": ("limit = 3\n", ": no corpus"),
}


@pytest.mark.parametrize(("text", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_by_its_line(text: str, said: str, nerx: Nerx, job: Job) -> None:
    path = job(text)
    done = nerx("run", path)
    assert (done.code, done.out) == (2, "")
    assert len(done.errors) == 1, done.err
    assert done.errors[0].startswith(f"{path}{said}"), done.errors[0]


def test_a_mistake_on_the_command_line_is_not_blamed_on_the_file(nerx: Nerx, job: Job) -> None:
    path = job(CORPUS + "limit = 3\n")
    done = nerx("run", path, "--limit", 0)
    assert done.code == 2
    assert "--limit" in done.err
    assert "nightly.toml:" not in done.err


def test_no_such_job(nerx: Nerx, tmp_path: Path) -> None:
    assert "cannot be read (No such file" in nerx("run", tmp_path / "none.toml").errors[0]
    (tmp_path / "latin.toml").write_bytes(b'corpus = "caf\xe9"\n')
    assert "not UTF-8" in nerx("run", tmp_path / "latin.toml").errors[0]


def test_a_job_runs_and_its_report_names_it(nerx: Nerx, job: Job, tiny_adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("Ada went to Rome.\n\nGrace stayed.\n", encoding="utf-8")
    path = job(
        f'corpus = "../in.txt"\nadapter = {json.dumps(str(tiny_adapter))}\nout = "out.parquet"\n'
        'report = "report.json"\nlimit = 2\nquiet = true\njson = true\n'
    )
    done = nerx("run", path)
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["rows"] == 2
    assert pq.read_metadata(path.parent / "out.parquet").num_rows == 2
    told = json.loads((path.parent / "report.json").read_text())
    assert (told["options"]["job"], told["options"]["limit"]) == (str(path), 2)
    assert nerx("run", path, "--limit", 3, "--overwrite").code == 0
    assert pq.read_metadata(path.parent / "out.parquet").num_rows == 3
