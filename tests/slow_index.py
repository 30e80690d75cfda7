"""A package index over HTTP on this machine that sends half of a wheel, and the rest when it is let."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PATIENCE_S = 60.0


@dataclass
class SlowIndex:
    url: str = ""
    half_sent: threading.Event = field(default_factory=threading.Event)
    rest: threading.Event = field(default_factory=threading.Event)
    hung_up: threading.Event = field(default_factory=threading.Event)
    """Whoever downloaded is gone: its connection is closed."""


@contextmanager
def slow_index(wheel: Path) -> Iterator[SlowIndex]:
    index, content = SlowIndex(), wheel.read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = f'<!DOCTYPE html><html><body><a href="/{wheel.name}">{wheel.name}</a></body></html>'.encode()
            body, kind = (content, "application/zip") if self.path.endswith(".whl") else (page, "text/html")
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if body is page:
                self.wfile.write(body)
                return
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            index.half_sent.set()
            self._send_rest(body[len(body) // 2 :])

        def _send_rest(self, rest: bytes) -> None:
            self.connection.settimeout(0.1)
            while not index.rest.is_set():
                try:
                    if not self.connection.recv(1):
                        index.hung_up.set()
                        return
                except TimeoutError:
                    continue
                except ConnectionError:
                    index.hung_up.set()
                    return
            self.wfile.write(rest)

        def log_message(self, *_: object) -> None:
            """Tests print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    index.url = f"http://127.0.0.1:{server.server_port}/simple"
    try:
        yield index
    finally:
        index.rest.set()
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE_S)
