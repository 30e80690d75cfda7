"""`nerx.fit` and `nerx.extract`: the functions of the commands, with signatures that can be read."""

import inspect
import json
from dataclasses import MISSING, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import Nerx

import nerx as package
from nerx.adapters.config import FitConfig
from nerx.engine.errors import InputError, TooManyFailuresError
from nerx.engine.run.config import DEFAULTS, ExtractConfig
from nerx.engine.run.extract import estimate
from nerx.engine.run.summary import ExtractEvent

TEXTS = ["Ada went to Rome.", None, "", "The engine stood still."]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    pq.write_table(pa.table({"id": range(4), "text": pa.array(TEXTS, pa.string())}), tmp_path / "in.parquet")
    return tmp_path / "in.parquet"


@pytest.mark.parametrize(
    ("function", "config", "left_out"), [("fit", FitConfig, set()), ("extract", ExtractConfig, {"noop_code"})]
)
def test_signatures_are_those_of_the_configs(function: str, config: type, left_out: set[str]) -> None:
    """A signature has to be written out to be read; here it is held against the one place where defaults stand."""
    parameters = inspect.signature(getattr(package, function)).parameters
    assert not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    known = {field.name: field.default for field in fields(config) if field.name not in left_out}
    assert parameters.keys() - {"progress", "stop"} == known.keys()
    for name, default in known.items():
        if default is not MISSING:
            written = parameters[name].default
            assert (str(written) if isinstance(default, Path) else written) == (
                str(default) if isinstance(default, Path) else default
            ), name


def test_every_option_is_told_in_the_docstring() -> None:
    for function in (package.fit, package.extract):
        told = function.__doc__ or ""
        assert not [name for name in inspect.signature(function).parameters if name not in told]


def test_extract_does_what_the_command_does(nerx: Nerx, corpus: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    seen: list[ExtractEvent] = []
    summary = package.extract(corpus, adapter=tiny_adapter, progress=seen.append)
    assert [event.stage for event in seen] == ["read", "load", "begin", "extract"]
    assert (summary.rows, summary.texts, summary.out) == (4, 3, str(tmp_path / "in.nerx.parquet"))
    done = nerx("extract", corpus, "--adapter", tiny_adapter, "--out", tmp_path / "command.parquet", "--json")
    timed = {"seconds", "stages", "out"}
    told = {name: value for name, value in json.loads(done.out).items() if name not in timed}
    assert told == {
        name: value for name, value in json.loads(json.dumps(summary.to_dict())).items() if name not in timed
    }
    assert pq.read_table(summary.out).equals(pq.read_table(tmp_path / "command.parquet"))


def test_extract_stops_goes_on_grows_and_retries(corpus: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    stopped = package.extract([corpus], adapter=tiny_adapter, stop=lambda: True)
    assert (stopped.interrupted, stopped.rows) == (True, 0)
    assert package.extract([corpus], adapter=tiny_adapter).rows == 4
    retried = package.extract(corpus, adapter=tiny_adapter, retry_failed=True)
    assert (retried.is_noop, retried.rows, retried.texts) == (True, 4, 3)
    assert retried.retry is not None
    assert retried.retry.retried == 0
    for new in (True, False):
        grown = package.extract(corpus, adapter=tiny_adapter, out=tmp_path / "grown", incremental=True)
        assert (grown.is_noop, grown.rows) == (not new, 4 * new)
        assert grown.inputs is not None
        assert grown.inputs.unchanged == (not new)


def test_more_failures_than_allowed_are_raised_when_the_output_is_complete(tiny_adapter: Path, tmp_path: Path) -> None:
    data = pa.array([b"Ada", b"caf\xe9", b"caf\xe9"], pa.binary()).buffers()
    text = pa.StringArray.from_buffers(3, data[1], data[2])
    pq.write_table(pa.table({"text": text}), tmp_path / "in.parquet")
    with pytest.raises(TooManyFailuresError, match="2 rows failed, more than --max-failures 50%"):
        package.extract(tmp_path / "in.parquet", adapter=tiny_adapter)
    assert pq.read_metadata(tmp_path / "in.nerx.parquet").num_rows == 3
    retried = package.extract(tmp_path / "in.parquet", adapter=tiny_adapter, retry_failed=True, max_failures="100%")
    assert retried.retry is not None
    assert (retried.retry.retried, retried.retry.recovered, retried.failures) == (2, 0, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "--limit 0: must be at least 1"),
        ({"min_score": 1.5}, "--min-score 1.5: a probability is from 0 to 1"),
        ({"mode": "slow"}, "--mode 'slow': choose one of exact, fast"),
        ({"backend": "spark"}, "--backend 'spark': choose one of local, ray"),
        ({"incremental": True, "shard": "1/2"}, "--incremental and --shard do not go together"),
        ({"workers": 2}, "--workers goes with --backend ray only"),
        ({"shard": "5/4"}, "--shard 5/4: the first number"),
        ({"max_failures": "many"}, "--max-failures 'many'"),
    ],
)
def test_options_are_checked_before_anything_is_read(options: dict, message: str) -> None:
    with pytest.raises(InputError, match="^" + message):
        package.extract("nowhere.parquet", adapter="nowhere", **options)


def test_a_corpus_has_to_be_named() -> None:
    with pytest.raises(InputError, match="no corpus"):
        ExtractConfig(corpus=())


def test_an_estimate_reads_and_writes_nothing(corpus: Path, tiny_adapter: Path) -> None:
    config = ExtractConfig(corpus=(str(corpus),), adapter=tiny_adapter)
    found = estimate(config)
    assert (found.rows, found.texts, found.inputs) == (4, 3, None)
    assert [path.name for path in corpus.parent.iterdir()] == [corpus.name]
    with pytest.raises(InputError, match="--retry-failed and --dry-run do not go together"):
        estimate(ExtractConfig(corpus=(str(corpus),), adapter=tiny_adapter, retry_failed=True))


def test_the_command_takes_its_defaults_from_the_config() -> None:
    from nerx.cli.extract import extract

    for name, parameter in inspect.signature(extract).parameters.items():
        if name in DEFAULTS:
            assert parameter.default == DEFAULTS[name], name
