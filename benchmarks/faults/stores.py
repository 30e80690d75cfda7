"""An S3 server that fails every fifth request: an error, a reply cut off, a slow one. In and out go through it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from s3 import CREDENTIALS, Bucket, every_fifth, proxy, serving

from .scene import WAYS, Ended, Scene, compare, extract

MOST_RUNS = 5
FILES = 3
"""Of the lake; the server holds all its objects in memory."""


@dataclass(frozen=True, slots=True)
class Store:
    """The bucket that holds the first files of the lake, and what a run over them makes undisturbed."""

    bucket: Bucket
    whole: pa.Table


@contextmanager
def store(scene: Scene) -> Iterator[Store]:
    """A server of its own, as a process."""
    os.environ.update(CREDENTIALS)
    with serving() as port:
        bucket = Bucket("lake", port, port)
        bucket.filesystem.create_dir(bucket.name)
        files = sorted(scene.lake.iterdir())[:FILES]
        for file in files:
            bucket.put(f"in/{file.name}", file.read_bytes())
        rows = sum(pq.read_metadata(file).num_rows for file in files)
        yield Store(bucket, pq.read_table(scene.whole).slice(0, rows))


def failing(scene: Scene, there: Store, way: str, seed: int) -> dict[str, Any]:
    """One output; a run that ends with an error is started again."""
    name, work = f"{seed}-{WAYS[way][0]}", scene.work / "state"
    ends: list[Ended] = []
    with proxy(there.bucket.server, every_fifth(seed)) as between:
        through = Bucket(there.bucket.name, between.port, there.bucket.server)
        command = scene.command(through.uri(name), "--work-dir", str(work), source=through.uri("in"), way=way)
        while not ends or (ends[-1].code and len(ends) < MOST_RUNS):
            ends.append(extract(command))
    shutil.rmtree(work, ignore_errors=True)
    return {
        "exit_code": ends[0].code,
        "message": _without_port(ends[0].said, between.port) if ends[0].code else "",
        "runs": len(ends),
        "requests": len(between.seen),
        "failed_requests": between.failed,
        "equal": ends[-1].code == 0 and compare(_read(there.bucket, name), there.whole).equal,
    }


def _read(bucket: Bucket, name: str) -> pa.Table:
    return pq.read_table(f"{bucket.name}/{name}", filesystem=bucket.filesystem)


def _without_port(message: str, port: int) -> str:
    return message.replace(str(port), "PORT")
