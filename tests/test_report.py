"""What is left behind of a run for those who were not there: the report and the metrics, however it ended."""

import json
import signal
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from capitals import POISON, Capitals
from commands import Nerx
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus
from sinks import open_sink

from nerx.engine.reading.corpus import open_corpus
from nerx.engine.redaction import without_credentials
from nerx.engine.review.failure import FIRST_ROWS, failures_of, kind_of
from nerx.engine.review.openmetrics import openmetrics
from nerx.engine.review.report import RunReport
from nerx.engine.run.pipeline import run
from nerx.engine.span import Extraction, Span
from nerx.engine.tally import SCORE_BINS, Tally
from nerx.engine.writing.part import output_tally

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    texts = ["Ada went to Rome.", None, "", "The engine stood still.", *["Grace met Alan."] * 6]
    pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), tmp_path / "corpus.parquet")
    return tmp_path / "corpus.parquet"


def broken_texts() -> pa.Table:
    """Three texts, the second of which is not UTF-8."""
    data = pa.array([b"Ada", b"caf\xe9", b"Rome"], pa.binary()).buffers()
    return pa.table({"text": pa.StringArray.from_buffers(3, data[1], data[2])})


# The report of a command


def test_the_report_accounts_for_the_run(nerx: Nerx, corpus: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert nerx("extract", corpus, "--adapter", tiny_adapter, "--report", report).code == 0
    told = json.loads(report.read_text())
    assert (told["exit_code"], told["reason"], told["rows"], told["texts"]) == (0, "done", 10, 9)
    assert told["characters_in"] == told["characters_read"] == 130
    assert told["entities"] > 0
    assert {label: sum(bins) for label, bins in told["scores"].items()} == told["entities_per_label"]
    assert {len(bins) for bins in told["scores"].values()} == {told["score_bins"]} == {SCORE_BINS}
    assert told["rounds"] >= told["texts"] - 1  # one text is empty
    assert told["rounds_per_text"] == told["rounds"] / told["texts"]
    assert 0 < told["acceptance_rate"] <= 1
    assert set(told["stages"]) == {"read", "model", "write", "assemble"}
    assert all(seconds > 0 for seconds in told["stages"].values())
    assert {"nerx", "python", "torch", "transformers", "pyarrow"} <= set(told["versions"])
    card = json.loads((tiny_adapter / "nerx.json").read_text())
    assert told["digests"]["adapter"] == card["digest"]
    assert told["digests"]["base"] == card["base_digest"]
    metadata = pq.read_schema(tmp_path / "corpus.nerx.parquet").metadata
    assert told["digests"]["input"] == metadata[b"nerx.input_digest"].decode()
    assert (told["options"]["adapter"], told["options"]["min_score"]) == (str(tiny_adapter), 0.0)
    assert datetime.fromisoformat(told["started"]) <= datetime.fromisoformat(told["ended"])
    assert told["host"]


def test_failed_rows_are_named_by_number_and_kind_and_never_quoted(
    nerx: Nerx, tiny_adapter: Path, tmp_path: Path
) -> None:
    pq.write_table(broken_texts(), tmp_path / "in.parquet")
    report, metrics = tmp_path / "report.json", tmp_path / "nerx.prom"
    options = ["--adapter", tiny_adapter, "--report", report, "--metrics", metrics, "--max-failures", 0]
    done = nerx("extract", tmp_path / "in.parquet", *options)
    told = json.loads(report.read_text())
    assert (done.code, told["exit_code"]) == (3, 3)
    assert "--max-failures" in told["reason"]
    assert told["failures"] == 1
    assert told["failures_per_kind"] == {"the text is not valid UTF-8": 1}
    assert told["failed_rows"] == [{"row": 1, "kind": "the text is not valid UTF-8"}]
    assert "caf" not in report.read_text() + metrics.read_text()


def test_bad_input_is_reported_too(nerx: Nerx, corpus: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    report, metrics = tmp_path / "report.json", tmp_path / "nerx.prom"
    options = ["--adapter", tiny_adapter, "--text-column", "body", "--report", report, "--metrics", metrics]
    done = nerx("extract", corpus, *options)
    told = json.loads(report.read_text())
    assert (done.code, told["exit_code"], told["reason"]) == (2, 2, done.errors[0])
    assert "rows" not in told
    out = corpus.with_name("corpus.nerx.parquet")
    assert f'nerx_run_exit_code{{output="{out}"}} 2\n' in metrics.read_text()


def test_a_run_that_finds_the_output_in_use_reports_nothing_of_the_other(
    nerx: Nerx, corpus: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    with FileLock(tmp_path / ".corpus.nerx.parquet.nerx-lock"):
        assert nerx("extract", corpus, "--adapter", tiny_adapter, "--report", report).code == 75
    told = json.loads(report.read_text())
    assert told["exit_code"] == 75
    assert "rows" not in told


def test_a_dry_run_reports_its_estimate(nerx: Nerx, corpus: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    report, metrics = tmp_path / "report.json", tmp_path / "nerx.prom"
    options = ["--adapter", tiny_adapter, "--dry-run", "--json", "--report", report, "--metrics", metrics]
    done = nerx("extract", corpus, *options)
    assert json.loads(done.out).items() <= json.loads(report.read_text()).items()
    assert not metrics.exists()  # those of the last real run stay


@pytest.mark.parametrize("place", ["missing/report.json", "."])
def test_no_place_for_a_report_is_said_before_any_work(nerx: Nerx, corpus: Path, tmp_path: Path, place: str) -> None:
    done = nerx("extract", corpus, "--adapter", tmp_path / "none", "--report", tmp_path / place)
    assert done.code == 2
    assert "cannot be a file here" in done.errors[0]


def test_an_interrupted_run_reports_what_is_kept(tiny_adapter: Path, tmp_path: Path) -> None:
    rows, report = 2000, tmp_path / "report.json"
    pq.write_table(pa.table({"text": [f"Ada met {n} people." for n in range(rows)]}), tmp_path / "in.parquet")
    arguments = ["extract", tmp_path / "in.parquet", "--adapter", tiny_adapter, "--report", report]
    command = [sys.executable, "-m", "nerx", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("extracting: "):
                break
        process.send_signal(signal.SIGTERM)
        process.communicate()
        assert process.returncode == 143
    told = json.loads(report.read_text())
    assert (told["exit_code"], told["reason"], told["interrupted"]) == (143, "interrupted", True)
    assert 0 < told["rows"] < rows
    assert told["characters_in"] == told["characters_read"] > 0


def test_a_run_that_fails_half_way_reports_what_is_kept(nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    """Where the rows are assembled stands a folder that is not empty: they are done, and the last step fails."""
    pq.write_table(pa.table({"text": ["Ada went to Rome."] * 3}), tmp_path / "in.parquet")
    staging = tmp_path / ".in.nerx.parquet.nerx-partial"
    (staging / "whole.parquet" / "in the way").mkdir(parents=True)
    report = tmp_path / "report.json"
    done = nerx("extract", tmp_path / "in.parquet", "--adapter", tiny_adapter, "--report", report)
    told = json.loads(report.read_text())
    assert (done.code, told["exit_code"]) == (2, 2)
    assert "cannot be written" in told["reason"]
    assert told["rows"] == 3


# Metrics


def sample_report(**changes: object) -> RunReport:
    counts = {
        "rows": 10,
        "seconds": 1.5,
        "entities_per_label": {'a "quoted"\nlabel \\ ünïcode': 3, "b": 4},
        "failures_per_kind": {"out of memory": 1},
        "stages": {"read": 0.25, "model": 1e-7},
        "rounds": 20,
        "texts": 8,
        "drafted": 100,
        "accepted": 50,
        "out": "/data/a.nerx.parquet",
    }
    return RunReport(0, "done", NOW, NOW, {"out": None}, {"adapter": "ab"}, {**counts, **changes})


def test_metrics_are_valid_openmetrics_and_hold_the_numbers() -> None:
    text = openmetrics(sample_report())
    families = {family.name: family for family in parse_openmetrics(text)}
    assert text.endswith("# EOF\n")
    assert all(family.documentation and family.type == "gauge" for family in families.values())
    values = {name: family.samples[0].value for name, family in families.items()}
    assert (values["nerx_rows"], values["nerx_run_exit_code"], values["nerx_work_seconds"]) == (10, 0, 1.5)
    assert (values["nerx_rounds_per_text"], values["nerx_acceptance_ratio"]) == (2.5, 0.5)
    assert values["nerx_run_end_timestamp_seconds"] == NOW.timestamp()
    assert families["nerx_work_seconds"].unit == "seconds"
    labels = {sample.labels["label"]: sample.value for sample in families["nerx_label_entities"].samples}
    assert labels == {'a "quoted"\nlabel \\ ünïcode': 3, "b": 4}
    assert {s.labels["output"] for family in families.values() for s in family.samples} == {"/data/a.nerx.parquet"}


def test_collectors_of_the_older_format_read_the_same() -> None:
    text = openmetrics(sample_report())
    newer = {(s.name, tuple(s.labels.items()), s.value) for family in parse_openmetrics(text) for s in family.samples}
    older = {(s.name, tuple(s.labels.items()), s.value) for family in parse_prometheus(text) for s in family.samples}
    assert newer == older


def test_the_command_writes_metrics(nerx: Nerx, corpus: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    metrics = tmp_path / "nerx.prom"
    nerx("extract", corpus, "--adapter", tiny_adapter, "--metrics", metrics)
    values = {family.name: family.samples[0].value for family in parse_openmetrics(metrics.read_text())}
    assert values["nerx_rows"] == 10
    assert values["nerx_characters_in"] == values["nerx_characters_read"]
    assert [path.name for path in tmp_path.glob("*.tmp")] == []


def test_credentials_stay_out() -> None:
    reason = "https://me:secret@host/bucket?sig=secret: not found; s3://key:secret@bucket/x, s3://bucket/plain"
    cleaned = without_credentials(reason)
    assert "secret" not in cleaned
    assert "s3://bucket/plain" in cleaned
    told = sample_report(out="s3://key:secret@bucket/a.parquet")
    assert "secret" not in json.dumps(told.to_dict()) + openmetrics(told)


# The counts behind it

LABELS = st.sampled_from(["a", "b", "ünï"])
SCORES = st.floats(0, 1, width=32)
EXTRACTIONS = st.one_of(
    st.just(Extraction(None)),
    st.builds(
        lambda items: Extraction(
            tuple(Span(i, i + 1, label, score) for i, (label, score) in enumerate(items)), None, 9, 1, 4, 3
        ),
        st.lists(st.tuples(LABELS, SCORES), max_size=5),
    ),
    st.sampled_from(["out of memory on a chunk of 24 tokens; lower it", "ValueError: quoted 'text'"]).map(
        lambda error: Extraction(None, error)
    ),
)


def tally(extractions: list[Extraction]) -> Tally:
    texts = [None if one.spans is None and one.error is None else "some text" for one in extractions]
    return Tally.of(texts, extractions)


@given(st.lists(EXTRACTIONS, max_size=30), st.integers(0, 30), st.integers(0, 30))
def test_counts_add_up_however_rows_are_batched(extractions: list[Extraction], one: int, other: int) -> None:
    low, high = sorted((min(one, len(extractions)), min(other, len(extractions))))
    whole = tally(extractions)
    parts = [tally(extractions[start:end]) for start, end in ((0, low), (low, high), (high, len(extractions)))]
    assert parts[0] + parts[1] + parts[2] == whole
    assert parts[2] + (parts[1] + parts[0]) == whole
    assert whole - parts[0] == parts[1] + parts[2]
    assert Tally.from_json(whole.to_json()) == whole
    assert {label: sum(bins) for label, bins in whole.scores.items()} == whole.entities_per_label


def test_counts_of_older_and_newer_versions_are_read() -> None:
    older = '{"rows": 3, "texts": 2, "entities": 1, "entities_per_label": {"a": 1}, "failures": 0, "seconds": 0.5}'
    assert Tally.from_json(older) == Tally(rows=3, texts=2, entities=1, entities_per_label={"a": 1}, seconds=0.5)
    assert Tally.from_json('{"rows": 3, "of_tomorrow": 1}') == Tally(rows=3)
    for damaged in ("[]", "3", "{"):
        with pytest.raises(ValueError, match=r"Expecting|no JSON object"):
            Tally.from_json(damaged)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("out of memory on a chunk of 1,024 tokens; lower --batch-tokens", "out of memory on a chunk of N tokens"),
        ("only 3 of 1,200 characters were read", "only N of N characters were read"),
        ("ValueError: cannot convert 'Ada Lovelace'", "ValueError"),
        ('failed on "Ada"', "failed on"),
    ],
)
def test_a_kind_of_error_quotes_nothing(error: str, kind: str) -> None:
    assert kind_of(error) == kind


def test_counts_survive_a_stop_and_rows_are_numbered_in_the_output(tmp_path: Path) -> None:
    for name in ("a", "b"):
        lines = [f"Ada {name}{n}" if n % 7 else f"{POISON} Bob" for n in range(30)]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")

    def extract(out: Path, answers: list[bool]):
        opened = open_corpus([tmp_path / "a.txt", tmp_path / "b.txt"], batch_rows=4, shard_rows=10)
        left = iter(answers)
        return run(opened, Capitals(), open_sink(out, opened, Capitals()), stop=lambda: next(left, False))

    whole = extract(tmp_path / "whole", [])
    assert extract(tmp_path / "again", [False] * 9 + [True]).interrupted
    kept = failures_of(tmp_path / "again")
    again = extract(tmp_path / "again", [])
    assert again.resumed_rows > 0
    for name in ("scores", "entities_per_label", "rows", "failures", "characters_read"):
        assert getattr(again, name) == getattr(whole, name), name
    found = failures_of(tmp_path / "again")
    errors = pq.read_table(tmp_path / "whole").column("nerx_error").to_pylist()
    rows = [row for row, error in enumerate(errors) if error]
    assert [failed.row for failed in found.first] == rows[:FIRST_ROWS] == [0, 7, 14, 21, 28, 30, 37, 44, 51, 58]
    assert found.per_kind == {"cannot be processed": 10} == failures_of(tmp_path / "whole").per_kind
    assert kept.first == found.first[: len(kept.first)]
    assert 0 < len(kept.first) < 10
    assert asdict(output_tally(tmp_path / "whole"))["failures"] == whole.failures == 10


def test_failures_are_counted_after_a_retry_too(nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    """Counts that a retry stores are those of the rows: the output verifies."""
    pq.write_table(broken_texts(), tmp_path / "in.parquet")
    report, command = tmp_path / "report.json", ["extract", tmp_path / "in.parquet", "--adapter", tiny_adapter]
    assert nerx(*command).code == 0
    assert nerx(*command, "--retry-failed", "--report", report).code == 0
    told = json.loads(report.read_text())
    assert (told["retried"], told["failures"], told["failed_rows"][0]["row"]) == (1, 1, 1)
    assert nerx("inspect", tmp_path / "in.nerx.parquet", "--verify").code == 0


def test_an_incremental_run_accounts_for_its_inputs(nerx: Nerx, tiny_adapter: Path, tmp_path: Path) -> None:
    lake, report = tmp_path / "lake", tmp_path / "report.json"
    lake.mkdir()
    command = [
        "extract",
        lake,
        "--adapter",
        tiny_adapter,
        "--incremental",
        "--out",
        tmp_path / "out",
        "--report",
        report,
    ]
    for rows, name in enumerate(("a", "b"), start=2):
        (lake / f"{name}.txt").write_text("Ada went to Rome.\n" * rows)
        assert nerx(*command).code == 0
        told = json.loads(report.read_text())
        assert (told["rows"], told["inputs"]["new"], told["exit_code"]) == (rows, 1, 0)
    assert nerx(*command, "--noop-code", 9).code == 9
    told = json.loads(report.read_text())
    assert (told["rows"], told["exit_code"], told["reason"]) == (0, 9, "nothing to do")
    assert nerx("inspect", tmp_path / "out", "--verify", "--adapter", tiny_adapter).code == 0
