"""A hub on this machine: repositories of a base as Hugging Face's libraries keep and ask for them."""

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

BRANCH = "main"


def commit_of(folder: Path) -> str:
    """A commit id for the files of a folder."""
    digest = hashlib.sha1()
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def put_in_cache(cache: Path, name: str, folder: Path) -> str:
    """Make the files of `folder` the newest snapshot of the repository `name` in a hub cache. Returns its commit."""
    home, commit = cache / f"models--{name.replace('/', '--')}", commit_of(folder)
    shutil.copytree(folder, home / "snapshots" / commit, dirs_exist_ok=True)
    (home / "refs").mkdir(exist_ok=True)
    (home / "refs" / BRANCH).write_text(commit)
    return commit


class Hub:
    """Serves one repository. `folder` may be changed: then its branch has moved on; older commits stay."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.asked = name, list[str]()
        self.commits: dict[str, Path] = {}
        self.move_to(folder)

    def move_to(self, folder: Path) -> str:
        """Let the branch be at the files of `folder`."""
        self.newest = commit_of(folder)
        self.commits[self.newest] = folder
        return self.newest

    def find(self, path: str) -> tuple[bytes, str | None] | None:
        """What is at a path of the server, and the commit where it is a file of one."""
        api = f"/api/models/{self.name}"
        if path in (api, f"{api}/revision/{BRANCH}"):
            return json.dumps({"id": self.name, "sha": self.newest, "siblings": []}).encode(), None
        for commit, folder in self.commits.items():
            if path == f"{api}/tree/{commit}":
                return json.dumps([_entry(file) for file in sorted(folder.iterdir())]).encode(), None
            file = folder / path.rpartition("/")[2]
            if path == f"/{self.name}/resolve/{commit}/{file.name}" and file.is_file():
                return file.read_bytes(), commit
        return None


@contextmanager
def serving(hub: Hub) -> Iterator[str]:
    """The address of a server for `hub`."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.asked.append(path)
            if (found := hub.find(path)) is None:
                self.send_error(404)
            else:
                self._send(*found, body=body)

        def _send(self, content: bytes, commit: str | None, *, body: bool) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Type", "application/octet-stream" if commit else "application/json")
            if commit:
                self.send_header("X-Repo-Commit", commit)
                self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _entry(path: Path) -> dict[str, object]:
    content = path.read_bytes()
    return {"type": "file", "path": path.name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
