"""Runs from and to an object store, against a real S3 server: the same rows, whole objects only, faults outlasted."""

import io
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from capitals import Capitals
from s3 import CREDENTIALS, Bucket, Request, every_fifth, free_port, proxy, serving
from sinks import open_sink

from nerx.engine.errors import CorpusError, OutputError, OutputLockedError
from nerx.engine.reading import store
from nerx.engine.reading.corpus import open_corpus
from nerx.engine.run.pipeline import run
from nerx.engine.run.summary import RunSummary
from nerx.engine.writing import store_output
from nerx.engine.writing.output import open_output

HERE = Path(__file__).parent
NUMBERS = itertools.count(1)
OUTPUTS = pytest.mark.parametrize("name", ["out.parquet", "out"])


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    pytest.importorskip("moto")
    with serving() as port:
        yield port


@pytest.fixture
def bucket(server: int, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    made = Bucket(f"bucket-{next(NUMBERS)}", server, server)
    made.filesystem.create_dir(made.name)
    return made


def parquet(count: int, row_group_size: int = 100, first: int = 0) -> bytes:
    draw = random.Random(count)
    words = ["The", "ship", "Ever", "Given", "left", "Ünal", "北京", "in", "May"]
    texts = [" ".join(draw.choices(words, k=draw.randrange(12))) for _ in range(count)]
    content = io.BytesIO()
    pq.write_table(pa.table({"id": range(first, first + count), "text": texts}), content, row_group_size=row_group_size)
    return content.getvalue()


def extract(inputs: str | list[str], out: str | Path, work: Path, *, overwrite=False, extractor=None) -> RunSummary:
    corpus = open_corpus([inputs] if isinstance(inputs, str) else inputs, shard_rows=100, batch_rows=20)
    extractor = extractor or Capitals()
    return run(corpus, extractor, open_sink(open_output(out, work), corpus, extractor, overwrite=overwrite))


def table(bucket: Bucket, name: str) -> pa.Table:
    return pq.read_table(f"{bucket.name}/{name}", filesystem=bucket.filesystem)


def parts(bucket: Bucket) -> list[str]:
    return [key for key in bucket.objects() if key.startswith("out/part-")]


@OUTPUTS
def test_a_run_over_a_store_gives_what_a_run_over_files_gives(bucket, tmp_path, name):
    (tmp_path / "in").mkdir()
    contents = {"a.parquet": parquet(250), "b.parquet": parquet(100, first=250)}
    for key, content in contents.items():
        bucket.put(f"in/{key}", content)
        (tmp_path / "in" / key).write_bytes(content)
    bucket.put("in/_SUCCESS", b"{}")
    extract(str(tmp_path / "in"), tmp_path / "whole.parquet", tmp_path)
    summary = extract(bucket.uri("in"), bucket.uri(name), tmp_path / "work")
    assert table(bucket, name).equals(pq.read_table(tmp_path / "whole.parquet"))
    assert summary.out == f"s3://{bucket.name}/{name}"
    assert list((tmp_path / "work").iterdir()) == []
    if name == "out":
        assert sorted(parts(bucket)) == [f"out/part-0000{number}.parquet" for number in range(4)]
        first = pq.read_metadata(io.BytesIO(bucket.get("out/part-00000.parquet")))
        marker = json.loads(bucket.get("out/_SUCCESS"))
        assert marker == {"run": first.metadata[b"nerx.run"].decode(), "parts": 4}


def test_every_line_format_is_read_from_a_store(bucket):
    import gzip

    bucket.put("a/1.jsonl", b'{"text": "One"}\n{"text": "Two"}\n')
    bucket.put("a/2.jsonl.gz", gzip.compress(b'{"text": "Three"}\n'))
    bucket.put("b/1.csv", b"text,n\nFour,4\n")
    bucket.put("c/1.txt", b"Five\nSix\n")
    for prefix, expected in {"a": ["One", "Two", "Three"], "b": ["Four"], "c": ["Five", "Six"]}.items():
        corpus = open_corpus([bucket.uri(prefix)], batch_rows=1, shard_rows=1)
        found = [text for shard in corpus.shards() for batch in corpus.batches(shard) for text in corpus.texts(batch)]
        assert found == expected
    files = open_corpus([bucket.uri("c")], text_unit="file")
    (row,) = [row for shard in files.shards() for batch in files.batches(shard) for row in batch.to_pylist()]
    assert row == {"path": f"s3://{bucket.name}/c/1.txt", "text": "Five\nSix\n"}


PATTERNS = [
    *("", "*", "*.txt", "**", "**/*", "**/*.txt", "a/*", "a*", "a/**", "*/[xy].txt", "*/[!x]*", "?.txt", "*/*/*", "n*"),
    *("a/x.txt", "a/_b", "a/_b/*", "**/_b/*", "*.nerx.parquet", "none", "none/*", "a/x", "[a", "a[b].txt"),
]


@pytest.mark.slow
def test_prefixes_and_globs_mean_what_folders_and_globs_mean(bucket, tmp_path, monkeypatch):
    """Each pattern on the same names as files and as objects."""
    names = [
        *("x.txt", "a/x.txt", "a/y.txt", "a/b/x.txt", "a/b/c/z.txt", "ab/x.txt", "a/_b/x.txt", "_SUCCESS", ".h.txt"),
        *(
            "a/.h/x.txt",
            "a/x.dat",
            "o.nerx.parquet",
            "name with space.txt",
            "n+1.txt",
            "a/_x.txt",
            "a[b].txt",
            "ab.txt",
        ),
    ]
    monkeypatch.chdir(tmp_path)
    for name in names:
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / name).write_text("Text\n")
        bucket.put(f"d/{name}", b"Text\n")

    def listed(path: str, root: str) -> list[str] | None:
        try:
            return [file.path.partition(root)[2] for file in open_corpus([path]).files]
        except CorpusError:
            return None

    for pattern in PATTERNS:
        here = listed(f"d/{pattern}".rstrip("/"), "d/")
        there = listed(bucket.uri(f"d/{pattern}"), f"s3://{bucket.name}/d/")
        assert here == there, pattern


@pytest.mark.slow
def test_a_missing_object_bucket_or_server_is_said_in_one_line(bucket, monkeypatch):
    bucket.put("a/1.dat", b"x")
    nowhere = Bucket("nowhere", bucket.port, bucket.port)
    for uri, message in [
        (bucket.uri("b"), r"/b: no such object or prefix$"),
        (bucket.uri("a"), r"/a: no object with a known suffix below this \(.parquet, "),
        (bucket.uri("a/*.txt"), r"/a/\*.txt: no object with a known suffix matches"),
        (bucket.uri("a/1.dat"), r"/a/1.dat: unknown kind of file"),
        (nowhere.uri("a.csv"), r"s3://nowhere/a.csv: "),
    ]:
        with pytest.raises(CorpusError, match=message):
            open_corpus([uri])
    monkeypatch.setattr(store, "S3_RETRIES", 2)
    away = Bucket(bucket.name, free_port(), bucket.server)
    with pytest.raises(CorpusError) as caught:
        open_corpus([away.uri("a.csv")])
    message = str(caught.value)
    assert message.startswith(f"s3://{bucket.name}/a.csv: cannot be read (")
    assert "\n" not in message
    assert CREDENTIALS["AWS_ACCESS_KEY_ID"] not in message


@pytest.mark.slow
def test_an_object_that_changes_during_the_run_is_named(bucket, tmp_path):
    bucket.put("in.parquet", parquet(250))
    corpus = open_corpus([bucket.uri("in.parquet")], shard_rows=100)
    bucket.put("in.parquet", parquet(240))
    with pytest.raises(CorpusError, match=r"in.parquet: changed during the run"):
        run(corpus, Capitals(), open_sink(tmp_path / "o.parquet", corpus, Capitals()))


# Who may write


@pytest.mark.slow
@OUTPUTS
def test_an_existing_output_needs_overwrite(bucket, tmp_path, name):
    bucket.put("in.parquet", parquet(450))
    extract(bucket.uri("in.parquet"), bucket.uri(name), tmp_path)
    before = bucket.objects()
    with pytest.raises(OutputError, match=rf"/{name}: exists already; use --overwrite to replace it"):
        extract(bucket.uri("in.parquet"), bucket.uri(name), tmp_path / "another machine")
    assert bucket.objects() == before
    bucket.put("in.parquet", parquet(150))
    extract(bucket.uri("in.parquet"), bucket.uri(name), tmp_path, overwrite=True)
    assert table(bucket, name).num_rows == 150
    assert not list(tmp_path.glob(".*"))
    if name == "out":
        assert sorted(parts(bucket)) == ["out/part-00000.parquet", "out/part-00001.parquet"]


@pytest.mark.slow
def test_places_that_cannot_be_an_output(bucket, tmp_path):
    for key in ("in/a.parquet", "file", "prefix.parquet/x", "thesis/a.tex"):
        bucket.put(key, parquet(10))
    for key, message in [
        ("in", r"/in: is or holds the input s3://"),
        ("in/a.parquet", r"is or holds the input"),
        ("file", r"is an object; a .parquet name makes an object"),
        ("prefix.parquet", r"is a prefix of objects; a .parquet name makes an object"),
        ("thesis", r"holds 'a.tex', which nerx did not write"),
        ("o.jsonl", r"nerx writes Parquet"),
    ]:
        with pytest.raises(OutputError, match=message):
            extract(bucket.uri("in"), bucket.uri(key), tmp_path, overwrite=True)


@pytest.mark.slow
@OUTPUTS
def test_what_another_machine_has_written_meanwhile_is_not_replaced(bucket, tmp_path, name):
    bucket.put("in.parquet", parquet(450))

    class Interfering(Capitals):
        def extract(self, texts):
            bucket.put(name if name != "out" else "out/part-00000.parquet", b"somebody's")
            return super().extract(texts)

    with pytest.raises(OutputError, match=r"exists already"):
        extract(bucket.uri("in.parquet"), bucket.uri(name), tmp_path, extractor=Interfering())
    assert bucket.get(name if name != "out" else "out/part-00000.parquet") == b"somebody's"
    assert list(tmp_path.glob(".*.nerx-partial/part-*"))


def test_two_runs_on_one_machine_exclude_each_other(bucket, tmp_path):
    bucket.put("in.parquet", parquet(50))
    corpus = open_corpus([bucket.uri("in.parquet")])
    with (
        open_sink(open_output(bucket.uri("out"), tmp_path), corpus, Capitals()),
        pytest.raises(OutputLockedError, match=f"^s3://{bucket.name}/out: another run is writing it"),
        open_sink(open_output(bucket.uri("out"), tmp_path), corpus, Capitals()),
    ):
        pass


# Stores that fail


@pytest.mark.slow
@OUTPUTS
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_store_that_fails_every_fifth_request_is_outlasted(bucket, tmp_path, name, seed):
    content = parquet(450)
    bucket.put("in/a.parquet", content)
    (tmp_path / "in.parquet").write_bytes(content)
    extract(str(tmp_path / "in.parquet"), tmp_path / "whole.parquet", tmp_path)
    with proxy(bucket.server, every_fifth(seed)) as between:
        bucket.port = between.port
        extract(bucket.uri("in"), bucket.uri(name), tmp_path / "work")
    assert table(bucket, name).equals(pq.read_table(tmp_path / "whole.parquet"))
    assert set(between.failed) == {"error", "reset", "slow"} or len(between.seen) < 40
    assert sum(between.failed.values()) >= 0.1 * len(between.seen)


@pytest.mark.slow
@OUTPUTS
def test_a_store_that_refuses_uploads_is_said_and_a_rerun_goes_on(bucket, tmp_path, name, monkeypatch):
    monkeypatch.setattr(store, "S3_RETRIES", 2)
    bucket.put("in.parquet", parquet(450))
    target = f"{name}/part-00002" if name == "out" else name
    with proxy(bucket.server, lambda r: "error" if r.method == "PUT" and target in r.path else None) as between:
        bucket.port = between.port
        with pytest.raises(OutputError) as caught:
            extract(bucket.uri("in.parquet"), bucket.uri(name), tmp_path)
        message = str(caught.value)
        assert message.startswith(f"s3://{bucket.name}/{name}: cannot be written (When ")
        assert message.endswith(f"what is finished is kept in {next(tmp_path.glob('.*-partial'))}, run again to go on")
        assert "\n" not in message
        assert between.failed["error"] == 3 * store_output.UPLOADS
        assert sorted(parts(bucket)) == ["out/part-00000.parquet", "out/part-00001.parquet"] * (name == "out")
        assert name not in bucket.objects()
        between.fault = lambda _: None
        between.seen.clear()
        extractor = Capitals()
        summary = extract(bucket.uri("in.parquet"), bucket.uri(name), tmp_path, extractor=extractor)
    assert (summary.rows, summary.resumed_rows, extractor.texts) == (450, 450, 0)
    assert not any("part-00001" in request.path for request in between.seen if request.method == "PUT")
    assert table(bucket, name).column("id").to_pylist() == list(range(450))


@pytest.mark.slow
def test_an_upload_whose_last_reply_is_lost_has_succeeded(bucket, tmp_path):
    """The server has then closed the upload, so the client's own second try meets an unknown one."""
    bucket.put("in.parquet", parquet(50))
    lost = iter(["reset"])

    def fault(request: Request) -> str | None:
        return next(lost, None) if request.method == "POST" and "uploadId" in request.path else None

    with proxy(bucket.server, fault) as between:
        bucket.port = between.port
        extract(bucket.uri("in.parquet"), bucket.uri("out.parquet"), tmp_path)
    assert between.failed == {"reset": 1}
    assert table(bucket, "out.parquet").num_rows == 50


RUN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from capitals import Capitals
from nerx.engine.reading.corpus import open_corpus
from nerx.engine.writing.output import open_output
from nerx.engine.run.pipeline import run
from sinks import open_sink

corpus = open_corpus([sys.argv[2]], shard_rows=100, batch_rows=20)
extractor = Capitals()
print(run(corpus, extractor, open_sink(open_output(sys.argv[3], Path(sys.argv[4])), corpus, extractor)).resumed_rows)
"""


@pytest.mark.slow
@pytest.mark.parametrize("nth", [1, 3, 5])
@pytest.mark.parametrize("verb", ["PUT", "POST"])
@OUTPUTS
def test_a_run_killed_during_the_upload_is_finished_by_the_next(bucket, tmp_path, name, verb, nth):
    """Killed before its `nth` upload request of a kind is answered: `POST` begins and ends one, `PUT` sends bytes."""
    bucket.put("in.parquet", parquet(450))
    killed: list[int] = []

    def fault(request: Request) -> str | None:
        if request.method == verb and f"/{name}" in request.path and not killed and between.count(verb, name) == nth:
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)
            time.sleep(0.2)  # so that the kill comes before the server hears of this request
            return "error"
        return None

    with proxy(bucket.server, fault) as between:
        bucket.port = between.port
        command = [sys.executable, "-c", RUN, str(HERE), bucket.uri("in.parquet"), bucket.uri(name), str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            code = process.wait(timeout=100)
        if name == "out.parquet" and nth > (1 if verb == "PUT" else 2):
            assert code == 0  # one object has fewer requests than that
            return
        assert code == -signal.SIGKILL
        visible = [key for key in bucket.objects() if key.startswith(name)]
        for key in visible:  # whole, or not there
            pq.read_metadata(io.BytesIO(bucket.get(key)))
        assert "out/_SUCCESS" not in visible
        between.seen.clear()
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=100)
    assert done.stdout == "450\n"
    for key in visible:
        assert not any(key in request.path for request in between.seen if request.method in ("PUT", "POST"))
    bucket.port = bucket.server
    extract(bucket.uri("in.parquet"), tmp_path / "whole.parquet", tmp_path)
    assert table(bucket, name).equals(pq.read_table(tmp_path / "whole.parquet"))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_the_command_reads_and_writes_a_store_and_keeps_its_secrets(bucket, nerx, tiny_adapter, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    bucket.put("in/a.parquet", parquet(40))
    key, secret = CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"]
    uri = bucket.uri("in").replace("s3://", f"s3://{key}:{secret}@")
    asked = ("extract", uri, "--adapter", tiny_adapter, "--out", bucket.uri("out").replace("s3://", f"s3://{key}:x@"))
    done = nerx(*asked)
    assert done.code == 0, done.err
    assert done.out.startswith(f"s3://{bucket.name}/out\n")
    assert table(bucket, "out").num_rows == 40
    again = nerx(*asked)
    assert (again.code, again.errors) == (
        2,
        [f"s3://{bucket.name}/out: exists already; use --overwrite to replace it"],
    )
    nowhere = nerx("extract", uri, "--adapter", tiny_adapter)
    assert (nowhere.code, nowhere.errors) == (2, ["an input in a store: give --out, which says where the output goes"])
    monkeypatch.setattr(store, "S3_RETRIES", 1)
    with proxy(bucket.server, lambda request: "error" if request.method == "PUT" else None) as between:
        bucket.port = between.port
        out = bucket.uri("other.parquet").replace("s3://", f"s3://{key}:{secret}@")
        failed = nerx("extract", uri, "--adapter", tiny_adapter, "--out", out, "--work-dir", tmp_path / "work")
    assert failed.code == 2
    assert len(failed.errors) == 1
    assert failed.errors[0].startswith(f"s3://{bucket.name}/other.parquet: cannot be written (When uploading part")
    kept = b"".join(path.read_bytes() for path in (tmp_path / "work").rglob("*") if path.is_file())
    for shown in (done.out, done.err, failed.out, failed.err, kept.decode(errors="replace")):
        assert key not in shown
        assert secret not in shown
    assert b"s3://" in kept


@pytest.mark.slow
def test_the_endpoint_comes_from_the_environment(bucket, tmp_path):
    bucket.put("in.txt", b"One\nTwo\n")
    environment = {**os.environ, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{bucket.server}"}
    uris = [f"s3://{bucket.name}/{name}" for name in ("in.txt", "out.parquet")]
    subprocess.run([sys.executable, "-c", RUN, str(HERE), *uris, str(tmp_path)], check=True, env=environment)
    assert table(bucket, "out.parquet").num_rows == 2


@pytest.mark.slow
def test_a_growing_prefix_is_read_once_and_then_only_what_is_new(bucket, nerx, tiny_adapter, tmp_path):
    bucket.put("in/a.parquet", parquet(10))
    bucket.put("in/b.parquet", parquet(20))
    asked = ("extract", bucket.uri("in"), "--adapter", tiny_adapter, "--out", tmp_path / "out", "--incremental")
    assert nerx(*asked).code == 0
    bucket.put("in/c.parquet", parquet(5))
    again = nerx(*asked, "--json")
    assert (again.code, json.loads(again.out)["inputs"]["new"]) == (0, 1), again.err
    assert pq.read_table(tmp_path / "out").num_rows == 35
    assert nerx(*asked, "--noop-code", 9).code == 9
    refused = nerx(*asked[:-2], bucket.uri("out"), "--incremental")
    assert refused.code == 2
    assert "--incremental and an --out in a store do not go together" in refused.errors[0]


# Folders that say more than their files


def parquet_of(text: str) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": [text]}), sink)
    return sink.getvalue()


def test_partition_prefixes_become_columns(bucket: Bucket) -> None:
    for year, country in (("2024", "NL"), ("2025", "a%2Fb")):
        bucket.put(f"lake/year={year}/country={country}/part-0.parquet", parquet_of("Ada"))
    for key in ("lake", "lake/*/*/*.parquet", "lake/year=2024", "lake/year=2024/country=NL/part-0.parquet"):
        corpus = open_corpus([bucket.uri(key)])
        rows = [row for shard in corpus.shards() for batch in corpus.batches(shard) for row in batch.to_pylist()]
        wanted = [("Ada", "2024", "NL"), ("Ada", "2025", "a/b")]
        assert [tuple(row.values()) for row in rows] == wanted[: len(rows)]
        assert len(rows) == (1 if "2024" in key else 2)


@pytest.mark.parametrize("mark", ["_delta_log/0.json", ".hoodie/hoodie.properties", "metadata/v1.metadata.json"])
def test_a_table_with_a_log_is_refused(mark: str, bucket: Bucket) -> None:
    bucket.put("lake/orders/data/a.parquet", parquet_of("Ada"))
    bucket.put(f"lake/orders/{mark}", b"{}")
    bucket.put("lake/plain/a.parquet", parquet_of("Ada"))
    for key in ("lake", "lake/orders", "lake/orders/data", "lake/o*/data/*.parquet", "lake/orders/data/a.parquet"):
        with pytest.raises(CorpusError, match=r"lake/orders: a \w+ table, whose log says which rows"):
            open_corpus([bucket.uri(key)])
    for key in ("lake/plain", "lake/p*/*.parquet"):
        assert open_corpus([bucket.uri(key)]).rows == 1
