"""The promises of SECURITY.md, each tried with the real commands on files made to break it."""

import ast
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from commands import Nerx

from nerx.engine.bases.digest import file_digest
from nerx.engine.bases.fetch import _PIP
from nerx.engine.label import Label, LabelSet
from nerx.engine.redaction import without_values
from nerx.engine.tagging.card import AdapterCard
from nerx.engine.tagging.loading import load_base

ROOT = Path(__file__).parents[1]
PACKAGE = sorted(
    [*ROOT.glob("*.py"), *(path for name in ("engine", "adapters", "cli") for path in (ROOT / name).rglob("*.py"))]
)

RUNS_PIP = "engine/bases/fetch.py"

SECRET = "Lovelace"
"""A word of the corpus that must not be seen outside of it."""


# Nothing that is read can run


FORBIDDEN_IMPORTS = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "subprocess", "runpy"}
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "torch.load",
    "torch.save",
    "os.system",
    "os.popen",
    "pickle.load",
    "yaml.load",
}


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_file_unpickles_or_evaluates(path: Path) -> None:
    allowed = {"subprocess"} if path == ROOT / RUNS_PIP else set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & FORBIDDEN_IMPORTS - allowed
        if isinstance(node, ast.ImportFrom) and not node.level:
            assert (node.module or "").split(".")[0] not in FORBIDDEN_IMPORTS
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in FORBIDDEN_CALLS


def test_the_one_program_that_nerx_starts_is_pip_which_only_downloads() -> None:
    calls = [node for node in ast.walk(ast.parse((ROOT / RUNS_PIP).read_bytes())) if isinstance(node, ast.Call)]
    (started,) = [call for call in calls if ast.unparse(call.func).startswith("subprocess.")]
    assert ast.unparse(started.args[0]) == "[sys.executable, '-P', '-c', _PIP, *arguments]"
    assert "shell" not in {keyword.arg for keyword in started.keywords}
    assert re.findall(r'run_module\("(\w+)"', _PIP) == ["pip"]
    (told,) = [call for call in calls if ast.unparse(call.func) == "_run_pip"]
    words = [ast.unparse(word) for word in told.args[0].elts]
    assert words[0].startswith("*('download', '--no-deps', '--only-binary', ':all:'")  # nothing is built or installed
    assert words[-1] == "f'{wheel.package}=={wheel.version}'"  # of our table


def test_only_the_loader_of_bases_knows_of_remote_code_and_nobody_asks_for_it() -> None:
    for path in PACKAGE:
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
                assert path.name == "loading.py"
                assert ast.unparse(node.value) == "trust_remote_code"  # handed on from load_base, where it is False
    assert load_base.__kwdefaults__["trust_remote_code"] is False


class Bomb:
    """Unpickled, it leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def adapter(tiny_adapter: Path, tmp_path: Path) -> Path:
    """A copy to tamper with."""
    return Path(shutil.copytree(tiny_adapter, tmp_path / "adapter"))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "in.txt"
    path.write_text(f"Ada {SECRET} went to Rome.\n", encoding="utf-8")
    return path


def forge(adapter: Path, **changes: Any) -> None:
    """Alter the card and make its digest right again, as an attacker would."""
    path = adapter / "nerx.json"
    record = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps(record))
    labels = LabelSet(tuple(Label(one["name"], one["description"]) for one in record["labels"]))
    known = {name: record[name] for name in AdapterCard.__dataclass_fields__ if name in record}
    AdapterCard(**{**known, "labels": labels}).write(adapter)
    assert AdapterCard.read(adapter)


def refused(nerx: Nerx, corpus: Path, adapter: Path) -> str:
    """The one line with which extract refuses the adapter."""
    done = nerx("extract", corpus, "--adapter", adapter)
    assert (done.code, done.out) == (2, ""), done.err
    assert not corpus.with_name("in.nerx.parquet").exists()
    (said,) = done.errors
    return said


def test_an_adapter_with_pickled_weights_is_refused_and_not_loaded(
    nerx: Nerx, corpus: Path, adapter: Path, tmp_path: Path
) -> None:
    """PEFT itself takes `adapter_model.bin` where there is no `adapter_model.safetensors`."""
    trace = tmp_path / "ran"
    (adapter / "adapter_model.safetensors").unlink()
    (adapter / "adapter_model.bin").write_bytes(pickle.dumps(Bomb(trace)))
    files = json.loads((adapter / "nerx.json").read_text())["files"]
    del files["adapter_model.safetensors"]
    forge(adapter, files=files)
    assert "no digest of adapter_model.safetensors" in refused(nerx, corpus, adapter)
    assert not trace.exists()
    pickle.loads((adapter / "adapter_model.bin").read_bytes())
    assert trace.exists()  # so the bomb was a live one


def test_a_base_with_pickled_weights_is_refused_and_not_loaded(
    nerx: Nerx, seed_file: Path, tiny_base: Path, tmp_path: Path
) -> None:
    base, trace = tmp_path / "base", tmp_path / "ran"
    shutil.copytree(tiny_base, base)
    (base / "model.safetensors").unlink()
    torch.save(Bomb(trace), base / "pytorch_model.bin")
    done = nerx("fit", seed_file, "--base", base, "--out", tmp_path / "out")
    assert done.code == 2
    assert "cannot load base" in done.errors[0]
    assert not trace.exists()
    assert not (tmp_path / "out").exists()


def test_code_that_comes_with_a_base_is_not_run(nerx: Nerx, seed_file: Path, tiny_base: Path, tmp_path: Path) -> None:
    base, trace = tmp_path / "base", tmp_path / "ran"
    shutil.copytree(tiny_base, base)
    code = f"import os\nos.mkdir({str(trace)!r})\nclass C: pass\nclass M: pass\n"
    (base / "code.py").write_text(code)
    config = json.loads((base / "config.json").read_text())
    named = {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M", "AutoTokenizer": ["code.M", "code.M"]}
    (base / "config.json").write_text(json.dumps({**config, "model_type": "unheard-of", "auto_map": named}))
    done = nerx("fit", seed_file, "--base", base, "--out", tmp_path / "out")
    assert done.code == 2
    assert "cannot load base" in done.errors[0]
    assert not trace.exists()


# An adapter is what its card says, in its own folder


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "sub/file", "..", "sub\\..\\..\\file"])
def test_a_card_cannot_name_files_elsewhere(nerx: Nerx, corpus: Path, adapter: Path, name: str) -> None:
    (adapter.parent / "outside").write_text("x")
    files = json.loads((adapter / "nerx.json").read_text())["files"]
    forge(adapter, files={**files, name: file_digest(adapter.parent / "outside")})
    said = refused(nerx, corpus, adapter)
    assert "not in the folder itself" in said or f"lacks {name}" in said


def test_a_link_out_of_the_folder_is_refused(nerx: Nerx, corpus: Path, adapter: Path, tmp_path: Path) -> None:
    weights = adapter / "adapter_model.safetensors"
    shutil.move(weights, tmp_path / "elsewhere.safetensors")
    weights.symlink_to(tmp_path / "elsewhere.safetensors")
    assert "cp -L" in refused(nerx, corpus, adapter)


def test_a_folder_that_is_itself_a_link_is_fine(nerx: Nerx, corpus: Path, adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(adapter)
    assert nerx("extract", corpus, "--adapter", tmp_path / "current").code == 0


def test_weights_that_the_card_does_not_list_are_refused(nerx: Nerx, corpus: Path, adapter: Path) -> None:
    files = json.loads((adapter / "nerx.json").read_text())["files"]
    del files["drafter.safetensors"]
    forge(adapter, files=files)
    assert "no digest of drafter.safetensors" in refused(nerx, corpus, adapter)


def test_only_lora_is_loaded(nerx: Nerx, corpus: Path, adapter: Path) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "peft_type": "PROMPT_TUNING"}))
    files = json.loads((adapter / "nerx.json").read_text())["files"]
    forge(adapter, files={**files, path.name: file_digest(path)})
    assert "not 'LORA'" in refused(nerx, corpus, adapter)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors", "drafter.safetensors"])
def test_a_changed_file_is_noticed(nerx: Nerx, corpus: Path, adapter: Path, name: str) -> None:
    path = adapter / name
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    assert f"{name} is damaged" in refused(nerx, corpus, adapter)


# What is said outside the output quotes no text and no key


def broken_inputs() -> Iterator[tuple[str, bytes]]:
    yield "columns.csv", f"id,text\n1,a\n2,{SECRET},{SECRET}\n".encode()
    yield "quote.csv", f'id,text\n1,"{SECRET}\n'.encode()
    yield "encoding.csv", b"id,text\n1," + SECRET.encode() + b"\xff\n"
    yield "broken.jsonl", f'{{"text": "a"}}\n{{"text": {SECRET}}}\n'.encode()
    yield "types.jsonl", f'{{"text": "a", "n": 1}}\n{{"text": "b", "n": "{SECRET}"}}\n'.encode()
    yield "array.jsonl", f'{{"text": "a"}}\n["{SECRET}"]\n'.encode()
    yield "twice.jsonl", f'{{"text": "a", "text": "{SECRET}"}}\n'.encode()
    yield "long.jsonl", b'{"text": "a", "n": 1.5}\n{"text": "b", "n": {"x": 77777777777777777777}}\n'
    yield "encoding.txt", SECRET.encode() + b"\xff\n"


@pytest.mark.parametrize(
    ("name", "content"), list(broken_inputs()), ids=lambda value: value if isinstance(value, str) else ""
)
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_errors_about_an_input_quote_none_of_it(
    nerx: Nerx, tiny_adapter: Path, tmp_path: Path, name: str, content: bytes, log_format: str
) -> None:
    (tmp_path / name).write_bytes(content)
    report = tmp_path / "report.json"
    options = ["--adapter", tiny_adapter, "--log-format", log_format, "--report", report]
    done = nerx("extract", tmp_path / name, *options)
    assert done.code == 2, done.out
    for said in (done.err, done.out, report.read_text()):
        assert SECRET not in said
        assert "7777" not in said


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            "In CSV column #1: CSV conversion error to int64: invalid value 'x\ny'",
            "CSV conversion error to int64: invalid value",
        ),
        ("Failed to convert JSON to int64, couldn't parse:123", "couldn't parse"),
        ("CSV parse error: Row #3: Expected 2 columns, got 3: a,b,c", "Expected 2 columns, got 3"),
        ("Column(/a) changed from number to string in row 1", "Column(/a) changed from number to string in row 1"),
    ],
)
def test_what_arrow_quotes_is_cut_off(message: str, said: str) -> None:
    assert without_values(message).endswith(said)


def test_a_run_says_nothing_of_the_texts(nerx: Nerx, tiny_adapter: Path, corpus: Path, tmp_path: Path) -> None:
    told = [tmp_path / "report.json", tmp_path / "nerx.prom"]
    done = nerx("extract", corpus, "--adapter", tiny_adapter, "--report", told[0], "--metrics", told[1])
    assert done.code == 0
    for said in (done.out, done.err, *(path.read_text() for path in told)):
        assert SECRET not in said


def test_keys_in_uris_are_not_repeated(nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    for uri in ("s3://AKIA:hunter2@bucket/a.parquet", "https://host/a.parquet?sig=hunter2"):
        done = nerx("extract", uri, "--out", tmp_path / "o.parquet", "--adapter", tiny_adapter, "--report", report)
        assert done.code == 2
        assert "hunter2" not in done.err + done.out + report.read_text()


# What a document or a label holds is only shown


HOSTILE = "\x1b]0;owned\x07\x1b[31m[red]a[/red]\u202e<script>alert(1)</script>&\r\x9b2J"


@pytest.fixture
def hostile_output(tmp_path: Path) -> Path:
    entity = {"start": 0, "end": len(HOSTILE), "label": HOSTILE, "text": HOSTILE, "score": 0.5}
    kind = pa.list_(
        pa.struct(
            [
                ("start", pa.int32()),
                ("end", pa.int32()),
                ("label", pa.string()),
                ("text", pa.string()),
                ("score", pa.float32()),
            ]
        )
    )
    columns = {
        "text": pa.array([HOSTILE]),
        "entities": pa.array([[entity]], kind),
        "nerx_error": pa.array([None], pa.string()),
    }
    tally = {"rows": 1, "entities": 1, "entities_per_label": {HOSTILE: 1}}
    table = pa.table(columns).replace_schema_metadata({"nerx.tally": json.dumps(tally), "nerx.base": HOSTILE})
    pq.write_table(table, tmp_path / "out.parquet")
    return tmp_path / "out.parquet"


@pytest.mark.parametrize("command", ["view", "inspect", "diff"])
def test_a_terminal_gets_no_control_characters_and_no_markup(nerx: Nerx, hostile_output: Path, command: str) -> None:
    empty = hostile_output.with_name("empty.parquet")
    pq.write_table(pq.read_table(hostile_output).slice(0, 0), empty)
    arguments = [empty, hostile_output, "--show", 5] if command == "diff" else [hostile_output]
    done = nerx(command, *arguments)
    assert done.code == 0, done.err
    shown = done.out + done.err
    assert not set(shown) & set("\x1b\x07\x9b\u202e\r")
    assert "a[/red]" in shown.replace("\n", "").replace(" ", "")


# Keys of PEFT that name what is to be imported


FORGED = {
    "auto_mapping": {"base_model_class": "LlamaForCausalLM", "parent_library": "forged_by_nobody"},
    "megatron_config": {"params_dtype": "float32"},
    "megatron_core": "forged_by_nobody",
    "layer_replication": [[0, 1]],
    "modules_to_save": ["lm_head"],
    "use_dora": True,
    "loftq_config": {"bits": 4},
    "what_a_later_peft_may_have": "forged_by_nobody.module",
}


@pytest.mark.parametrize("key", FORGED)
def test_a_key_that_nerx_does_not_write_is_refused(
    nerx: Nerx, corpus: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str
) -> None:
    trace = tmp_path / "ran"
    (tmp_path / "forged_by_nobody.py").write_text(f"import os\nos.mkdir({str(trace)!r})\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: FORGED[key]}))
    forge(adapter, files={**json.loads((adapter / "nerx.json").read_text())["files"], path.name: file_digest(path)})
    assert f"nerx writes no {key!r}" in refused(nerx, corpus, adapter)
    assert not trace.exists()


@pytest.mark.parametrize("change", [{"target_modules": ".*"}, {"r": 0}, {"r": "8"}, {"target_modules": []}])
def test_values_that_nerx_does_not_write_are_refused(
    nerx: Nerx, corpus: Path, adapter: Path, change: dict[str, Any]
) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    forge(adapter, files={**json.loads((adapter / "nerx.json").read_text())["files"], path.name: file_digest(path)})
    assert "are not as nerx writes them" in refused(nerx, corpus, adapter)


def test_what_an_earlier_nerx_wrote_is_read(nerx: Nerx, corpus: Path, adapter: Path) -> None:
    """All of PEFT's keys, those that nerx does not know with a value that asks for nothing."""
    path = adapter / "adapter_config.json"
    idle = {"auto_mapping": None, "loftq_config": {}, "use_dora": False, "megatron_core": "megatron.core"}
    idle |= {"init_lora_weights": True, "qalora_group_size": 16, "layers_pattern": None}
    path.write_text(json.dumps({**json.loads(path.read_text()), **idle}))
    forge(adapter, files={**json.loads((adapter / "nerx.json").read_text())["files"], path.name: file_digest(path)})
    assert nerx("extract", corpus, "--adapter", adapter).code == 0
