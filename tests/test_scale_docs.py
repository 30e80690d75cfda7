"""The examples of docs/scale.md: every block parses, and the commands in them do what the page says."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

PAGE = (Path(__file__).parents[1] / "docs/scale.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
RAY, CLUSTER, SLURM = (text for language, text in BLOCKS if language == "sh")
(JOB,) = (text for language, text in BLOCKS if language == "yaml")
AIRFLOW, DAGSTER = (text for language, text in BLOCKS if language == "python")

ROWS = 60


@pytest.fixture
def lake(tmp_path: Path, tiny_adapter: Path) -> Path:
    """A folder with what the examples name, and a `nerx` that the shell finds."""
    (tmp_path / "reviews").mkdir()
    for number in range(6):
        texts = [f"Ada {number} met Grace in Oslo" for _ in range(ROWS // 6)]
        pq.write_table(pa.table({"text": texts}), tmp_path / f"reviews/{number}.parquet")
    pq.write_table(pq.read_table(tmp_path / "reviews"), tmp_path / "corpus.parquet")
    shutil.copytree(tiny_adapter, tmp_path / "nerx-adapter")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/nerx").write_text(f'#!/bin/sh\nexec {sys.executable} -m nerx "$@"\n')
    (tmp_path / "bin/nerx").chmod(0o755)
    return tmp_path


def shell(lake: Path, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(lake / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["sh", "-c", text],
        cwd=lake,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


def rows(lake: Path) -> int:
    return pq.read_table(lake / "enriched").num_rows


@pytest.mark.parametrize("text", [RAY, CLUSTER, SLURM])
def test_shell_blocks_are_shell(text):
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def test_the_kubernetes_job_is_one():
    job = yaml.safe_load(JOB)
    assert (job["apiVersion"], job["kind"], job["spec"]["completionMode"]) == ("batch/v1", "Job", "Indexed")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    (script,) = container["args"]
    assert f"/{job['spec']['completions']}" in script
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)


@pytest.mark.parametrize("text", [AIRFLOW, DAGSTER])
def test_python_blocks_compile(text):
    compile(text, "docs/scale.md", "exec")


@pytest.mark.slow
def test_the_pods_of_the_job_fill_one_folder(lake):
    job: Any = yaml.safe_load(JOB)
    (script,) = job["spec"]["template"]["spec"]["containers"][0]["args"]
    for index in range(job["spec"]["completions"]):
        done = shell(lake, script.replace("/lake", str(lake)), JOB_COMPLETION_INDEX=str(index))
        assert done.returncode == 0, done.stderr
    assert rows(lake) == ROWS


@pytest.mark.slow
def test_the_tasks_of_the_array_fill_one_folder(lake):
    first, last = map(int, re.search(r"--array=(\d+)-(\d+)", SLURM).groups())
    for number in range(first, last + 1):
        done = shell(lake, SLURM, SLURM_ARRAY_TASK_ID=str(number))
        assert done.returncode == 0, done.stderr
    assert rows(lake) == ROWS


@pytest.mark.slow
def test_the_airflow_task_works_and_then_has_nothing_to_do(lake):
    (call,) = [node for node in ast.walk(ast.parse(AIRFLOW)) if isinstance(node, ast.Call) and named(node)]
    options = {word.arg: word.value.value for word in call.keywords if isinstance(word.value, ast.Constant)}
    assert shell(lake, options["bash_command"]).returncode == 0
    assert rows(lake) == ROWS
    assert shell(lake, options["bash_command"]).returncode == options["skip_on_exit_code"]


def named(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "BashOperator"


@pytest.mark.slow
def test_the_dagster_asset_finds_what_it_reports(lake):
    (words,) = [node for node in ast.walk(ast.parse(DAGSTER)) if isinstance(node, ast.List) and len(node.elts) > 3]
    command = " ".join(ast.literal_eval(words))
    done = shell(lake, command)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["rows"] == ROWS
    assert set(ast.literal_eval(re.search(r"for name in (\(.*?\))", DAGSTER)[1])) <= set(summary)


@pytest.mark.slow
@pytest.mark.parametrize("text", [RAY, CLUSTER], ids=["alone", "with ray start"])
def test_the_ray_examples_run(lake, text):
    pytest.importorskip("ray")
    done = shell(lake, text)
    assert done.returncode == 0, done.stderr
    assert rows(lake) == ROWS
