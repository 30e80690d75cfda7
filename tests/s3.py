"""An S3 server (moto) as a process on loopback, and a proxy before it that fails as networks and stores do.

What fails is drawn by a seed, request by request, so a run meets the same faults each time it sends the same requests.
"""

import http.client
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pyarrow import fs

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIATESTTESTTEST",
    "AWS_SECRET_ACCESS_KEY": "never-to-be-shown",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}

Fault = Callable[["Request"], str | None]
"""Says of a request `error`, `reset` (in the middle of the reply), `slow`, or None."""


@dataclass(frozen=True, slots=True)
class Request:
    number: int
    method: str
    path: str


@dataclass
class Bucket:
    """A bucket of its own on the server; `port` is where requests go, the server's or a proxy's."""

    name: str
    port: int
    server: int

    def uri(self, key: str = "") -> str:
        return f"s3://{self.name}/{key}?endpoint_override=http://127.0.0.1:{self.port}"

    @property
    def filesystem(self) -> fs.FileSystem:
        """Past any proxy."""
        return fs.S3FileSystem(endpoint_override=f"http://127.0.0.1:{self.server}", allow_bucket_creation=True)

    def put(self, key: str, content: bytes) -> None:
        with self.filesystem.open_output_stream(f"{self.name}/{key}", compression=None) as stream:
            stream.write(content)

    def get(self, key: str) -> bytes:
        with self.filesystem.open_input_stream(f"{self.name}/{key}", compression=None) as stream:
            return stream.read()

    def objects(self) -> dict[str, int]:
        """Key -> size of all that is visible."""
        found = self.filesystem.get_file_info(fs.FileSelector(self.name, recursive=True))
        return {info.path.removeprefix(f"{self.name}/"): info.size for info in found if info.is_file}


@contextmanager
def serving() -> Iterator[int]:
    """The server's port."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    environment = {**os.environ, **CREDENTIALS}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            _wait(port)
            yield port
        finally:
            process.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _wait(port: int) -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"no server on port {port}")


def every_fifth(seed: int) -> Fault:
    """A fifth of all requests fail, in each of the three ways."""
    draw, lock = random.Random(seed), threading.Lock()

    def fault(_: Request) -> str | None:
        with lock:
            return draw.choice(["error", "error", "reset", "slow"]) if draw.random() < 0.2 else None

    return fault


@dataclass
class Proxy:
    """`fault` may be exchanged at any time; `seen` is what was asked for, `failed` counts faults by kind."""

    port: int
    fault: Fault
    seen: list[Request] = field(default_factory=list)
    failed: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, method: str, part: str = "") -> int:
        return sum(request.method == method and part in request.path for request in self.seen)


@contextmanager
def proxy(server: int, fault: Fault) -> Iterator[Proxy]:
    state = Proxy(0, fault)
    handler = type("Handler", (_Handler,), {"server_port": server, "state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listener:
        listener.daemon_threads = True
        listener.block_on_close = False
        state.port = listener.server_address[1]
        thread = threading.Thread(target=listener.serve_forever, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            listener.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_port: int
    state: Proxy

    def _forward(self) -> None:
        body = self._body()
        with self.state.lock:
            request = Request(len(self.state.seen), self.command, self.path)
            self.state.seen.append(request)
        fault = self.state.fault(request)
        if fault:
            with self.state.lock:
                self.state.failed[fault] = self.state.failed.get(fault, 0) + 1
        if fault == "error":
            with suppress(ConnectionError):
                self._reply(500, [("Content-Type", "application/xml")], b"<Error><Code>InternalError</Code></Error>")
            return
        if fault == "slow":
            time.sleep(0.5)
        connection = http.client.HTTPConnection("127.0.0.1", self.server_port, timeout=60)
        connection.request(self.command, self.path, body, dict(self.headers))
        reply = connection.getresponse()
        content = reply.read()
        connection.close()
        with suppress(ConnectionError):  # whoever asked may have been killed
            self._reply(reply.status, reply.getheaders(), content, half=fault == "reset")

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _forward  # noqa: N815  # named by the library

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        del self.headers["Transfer-Encoding"]
        return b"".join(parts)

    def _reply(self, status: int, headers: list[tuple[str, str]], content: bytes, *, half: bool = False) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in {"connection", "transfer-encoding", "content-length", "server", "date"}:
                self.send_header(name, value)
        length = next((v for n, v in headers if n.lower() == "content-length"), None)
        self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(content)))
        self.end_headers()
        if half:  # the client sees the connection break in the middle of the body, or before it
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Says nothing."""
