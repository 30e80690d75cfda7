"""Runs on a real local Ray cluster of two worker processes: the same output, whoever dies."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from capitals import Capitals
from sinks import open_sink

from nerx.engine.errors import AdapterError, CorpusError, InputError, NerxError
from nerx.engine.reading.corpus import open_corpus
from nerx.engine.run.claim import Claim, Token
from nerx.engine.run.pipeline import run
from nerx.engine.run.summary import Progress
from nerx.engine.writing.place import staging_folder

pytest.importorskip("ray")
pytestmark = pytest.mark.slow
HERE = Path(__file__).parent


class Slow(Capitals):
    """Takes its time, and says who it is: `pids` gets a file for every worker process."""

    def __init__(self, pids: Path, seconds: float = 0.02) -> None:
        super().__init__()
        self.pids, self.seconds = pids, seconds
        (pids / str(os.getpid())).touch()

    def extract(self, texts):
        time.sleep(self.seconds)
        (self.pids / str(os.getpid())).write_text(str(self.texts))
        return super().extract(texts)


class Recipe:
    """Loads a `Slow` in a worker."""

    digest = Capitals().digest

    def __init__(self, pids: Path, seconds: float = 0.02) -> None:
        self.pids, self.seconds = pids, seconds

    def load(self) -> Slow:
        return Slow(self.pids, self.seconds)


@pytest.fixture(scope="module")
def pool() -> Iterator[object]:
    from nerx.engine.run import ray_backend

    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), before])  # workers unpickle what is defined here
    with ray_backend.cluster(2) as pool:
        yield pool
    os.environ["PYTHONPATH"] = before


@pytest.fixture
def source(tmp_path: Path) -> Path:
    draw = random.Random(0)
    words = ["The", "ship", "Ever", "Given", "left", "Ünal", "北京", "in", "May"]
    texts = [None if n % 11 == 0 else " ".join(draw.choices(words, k=draw.randrange(12))) for n in range(4000)]
    pq.write_table(pa.table({"id": range(4000), "text": texts}), tmp_path / "in.parquet", row_group_size=400)
    (tmp_path / "pids").mkdir()
    return tmp_path / "in.parquet"


def opened(source: Path):
    return open_corpus([source], shard_rows=400, batch_rows=20)


def whole(source: Path) -> pa.Table:
    out = source.with_name("whole.parquet")
    if not out.exists():
        corpus = opened(source)
        run(corpus, Capitals(), open_sink(out, corpus, Capitals()))
    return pq.read_table(out)


def extract(pool, source: Path, out: Path, *, seconds=0.02, checkpoint_seconds=0.1, **how):
    from nerx.engine.run import ray_backend

    corpus = opened(source)
    sink = open_sink(out, corpus, Capitals(), checkpoint_seconds=checkpoint_seconds)
    return ray_backend.run(corpus, Recipe(source.with_name("pids"), seconds), sink, pool=pool, **how)


def pids(source: Path) -> list[int]:
    return [int(path.name) for path in source.with_name("pids").iterdir()]


@pytest.mark.parametrize("name", ["o.parquet", "o"])
def test_two_workers_make_what_one_process_makes(pool, source, tmp_path, name):
    seen: list[Progress] = []
    summary = extract(pool, source, tmp_path / name, progress=seen.append)
    assert pq.read_table(tmp_path / name).equals(whole(source))
    assert len(pids(source)) == 2
    assert os.getpid() not in pids(source)
    assert (summary.rows, summary.resumed_rows, summary.shards, summary.interrupted) == (4000, 0, 10, False)
    assert summary.characters_in == summary.characters_read > 0
    rows = [event.rows for event in seen]
    assert rows == sorted(set(rows))
    assert len(rows) >= 3
    assert not staging_folder(tmp_path / name).exists()


@pytest.mark.parametrize("name", ["o.parquet", "o"])
def test_a_worker_killed_in_its_shard_costs_nothing_but_time(pool, source, tmp_path, name):
    killed: list[int] = []

    def kill_one(event: Progress) -> None:
        if not killed and event.rows > 500:
            killed.append(max(pids(source), key=lambda pid: psutil.Process(pid).create_time()))
            os.kill(killed[0], signal.SIGKILL)

    summary = extract(pool, source, tmp_path / name, progress=kill_one)
    assert killed
    assert len(pids(source)) > 2  # another process took its place
    assert pq.read_table(tmp_path / name).equals(whole(source))
    assert (summary.rows, summary.failures) == (4000, 0)


def test_a_stopped_run_keeps_what_is_finished_and_goes_on_locally_or_not(pool, source, tmp_path):
    seen: list[Progress] = []
    stopped = extract(
        pool, source, tmp_path / "o.parquet", progress=seen.append, stop=lambda: bool(seen) and seen[-1].rows > 800
    )
    assert stopped.interrupted
    assert 800 < stopped.rows < 4000
    assert not (tmp_path / "o.parquet").exists()
    again = extract(pool, source, tmp_path / "o.parquet", stop=lambda: len(pids(source)) > 3)
    assert again.resumed_rows == stopped.rows
    if again.interrupted:
        corpus = opened(source)
        rest = run(corpus, Capitals(), open_sink(tmp_path / "o.parquet", corpus, Capitals()))
        assert rest.resumed_rows == again.rows
    assert pq.read_table(tmp_path / "o.parquet").equals(whole(source))


def test_an_error_in_a_worker_is_raised_here_and_the_rest_is_kept(pool, source, tmp_path):
    content = source.read_bytes()

    def cut_off(event: Progress) -> None:
        if event.rows > 500:
            os.truncate(source, len(content) // 2)

    with pytest.raises(CorpusError, match=r"in.parquet: (changed during the run|damaged)"):
        extract(pool, source, tmp_path / "o.parquet", progress=cut_off)
    assert list(staging_folder(tmp_path / "o.parquet").glob("part-*"))
    assert not (tmp_path / "o.parquet").exists()


@pytest.mark.parametrize(("kind", "raised"), [(AdapterError, AdapterError), (ValueError, Exception)])
def test_a_fault_in_a_worker_is_a_fault_here(pool, source, tmp_path, kind, raised):
    from nerx.engine.run import ray_backend

    corpus = opened(source)
    with pytest.raises(raised, match="nothing to load"):
        ray_backend.run(corpus, Broken(kind), open_sink(tmp_path / "o.parquet", corpus, Capitals()), pool=pool)


class Broken(Recipe):
    def __init__(self, kind: type[Exception]) -> None:
        self.kind = kind

    def load(self):
        raise self.kind("nothing to load")


class Deadly(Capitals):
    """Ends its process at the hundredth text. Its own recipe."""

    def load(self):
        return self

    def extract(self, texts):
        if self.texts >= 100:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().extract(texts)


def test_rows_that_kill_every_worker_are_named(pool, source, tmp_path):
    from nerx.engine.run import ray_backend

    corpus = opened(source)
    with pytest.raises(
        NerxError, match=r"in.parquet: 5 workers died one after another on the rows from [\d,]+, perhaps"
    ):
        ray_backend.run(corpus, Deadly(), open_sink(tmp_path / "o.parquet", corpus, Capitals()), pool=pool)


@pytest.mark.usefixtures("pool")
def test_more_workers_than_the_cluster_has_room_for_are_refused():
    from nerx.engine.run import ray_backend

    with pytest.raises(InputError, match=r"--workers 99: the Ray cluster has \d+ CPUs, and each worker takes one"):
        ray_backend._pool(99, True)


def test_a_worker_of_an_earlier_run_drops_what_it_has(source, tmp_path):
    corpus = opened(source)
    with open_sink(tmp_path / "o.parquet", corpus, Capitals()) as sink:
        token = Token.of(sink.staging)
        assert not token.is_withdrawn()
    with open_sink(tmp_path / "o.parquet", corpus, Capitals()) as sink:
        with pytest.raises(NerxError, match="another run has taken over"):
            token.is_withdrawn()
        Token.of(sink.staging).withdraw()
        assert token.is_withdrawn()


def test_a_shard_is_worked_on_by_one_worker_at_a_time(source, tmp_path):
    corpus = opened(source)
    first, *_ = corpus.shards()
    entered: list[str] = []
    with open_sink(tmp_path / "o.parquet", corpus, Capitals()) as sink:
        holder, waiter = Claim(sink.staging, first), Claim(sink.staging, first)

        def wait() -> None:
            with waiter:
                entered.append("waiter")
                assert waiter.pending() is None

        with holder:
            thread = threading.Thread(target=wait)
            thread.start()
            time.sleep(0.3)
            assert entered == []
            with sink.writer(first) as writer:
                for batch in corpus.batches(first):
                    writer.add(batch, Capitals().extract(corpus.texts(batch)))
        thread.join()
    assert entered == ["waiter"]


# The command


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    draw = random.Random(1)
    words = ["Ada", "met", "Grace", "in", "Oslo", "and", "left", "for", "Lima", "at", "noon"]
    texts = [" ".join(draw.choices(words, k=12)) for _ in range(3000)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "letters.parquet", row_group_size=3000)
    return tmp_path / "letters.parquet"


def command(letters: Path, adapter: Path, out: str, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "nerx", "extract", letters.name, "--adapter", str(adapter), "--out", out),
        *("--device", "cpu", "--json", *more),
    ]


RAY = ("--backend", "ray", "--workers", "2")


def call(*arguments: str, cwd: Path, code: int = 0) -> dict:
    done = subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout) if done.stdout else {}


def test_the_command_on_ray_writes_what_it_writes_here(letters, tiny_adapter, tmp_path):
    here = call(*command(letters, tiny_adapter, "here.parquet", "--limit", "300"), cwd=tmp_path)
    there = call(*command(letters, tiny_adapter, "there.parquet", "--limit", "300", *RAY), cwd=tmp_path)
    assert pq.read_table(tmp_path / "there.parquet").equals(pq.read_table(tmp_path / "here.parquet"))
    assert {key: here[key] for key in ("rows", "entities")} == {key: there[key] for key in ("rows", "entities")}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_on_ray_that_is_stopped_goes_on(letters, tiny_adapter, tmp_path, number):
    asked = command(letters, tiny_adapter, "out", *RAY)
    staging = staging_folder(tmp_path / "out")
    with subprocess.Popen(asked, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not list(staging.glob("*.tries")):
            time.sleep(0.1)
        children = psutil.Process(process.pid).children(recursive=True)
        time.sleep(2)
        process.send_signal(number)
        _, said = process.communicate(timeout=100)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
    assert not (tmp_path / "out").exists()
    if number == signal.SIGTERM:
        assert process.returncode == 143, said
        assert "of 3,000 rows are kept; run the same command again to go on" in said
        assert list(staging.glob("part-*"))
    else:
        assert process.returncode == -signal.SIGKILL
    again = call(*asked, cwd=tmp_path)
    assert again["rows"] == 3000
    assert (again["resumed_rows"] > 0) == (number == signal.SIGTERM)
    call(*command(letters, tiny_adapter, "here.parquet"), cwd=tmp_path)
    assert pq.read_table(tmp_path / "out").equals(pq.read_table(tmp_path / "here.parquet"))
    assert not staging.exists()


def test_without_ray_the_command_says_how_to_get_it(letters, tiny_adapter, tmp_path):
    without = "import sys; sys.modules['ray'] = None; from nerx.cli.app import main; main(sys.argv[1:])"
    asked = [sys.executable, "-c", without, *command(letters, tiny_adapter, "o", *RAY)[3:]]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("error: --backend ray needs Ray (")
    assert done.stderr.endswith("pip install 'ray[data]'\n")
    alone = subprocess.run(
        command(letters, tiny_adapter, "o", "--workers", "2"), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (alone.returncode, alone.stdout) == (2, "")
    assert "--workers goes with --backend ray" in alone.stderr
