"""A base on a hub: its id, its revision, and its files as a folder on this machine.

The files come as one snapshot of one revision. So they have a digest like any other folder, and an adapter can name
the revision that it was made for.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import AdapterError
from .digest import PATTERNS

_ID = re.compile(r"(?P<id>[\w.-]+(/[\w.-]+)?)(@(?P<revision>[\w./-]+))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class HubId:
    """`owner/name`, or `owner/name@revision` with a commit, a branch or a tag."""

    name: str
    revision: str | None = None

    @classmethod
    def parse(cls, base: str) -> "HubId | None":
        """None for what is there as a folder or file, and for what cannot be a hub id."""
        match = _ID.fullmatch(base)
        if match is None or Path(base).exists() or base.startswith((".", "/")):
            return None
        return cls(match["id"], match["revision"])

    def at(self, folder: Path) -> str:
        """The id with the revision of a snapshot, whose folder has its name."""
        return f"{self.name}@{folder.name}"

    def snapshot(self) -> Path | None:
        """The folder of what is on this machine already, without asking the hub."""
        try:
            return self._download(local_files_only=True)
        except (OSError, ValueError):
            return None

    def fetch(self) -> Path:
        """The folder of the snapshot. Asks the hub for what is missing, unless the revision is a commit that is here.

        Raises AdapterError when there is no such base, or the hub cannot be reached.
        """
        try:
            return self._download()
        except Exception as error:  # of the network, of proxies, of tokens: they have no common root
            reason = " ".join(str(error).split("\n\n")[0].split()).rstrip(".")
            place = self.name + (f" in revision {self.revision}" if self.revision else "")
            raise AdapterError(
                f"cannot load base {place}: there is no such folder here, and the hub does not give it ({reason}); "
                "give a folder or hub id of a causal LM"
            ) from error

    def _download(self, *, local_files_only: bool = False) -> Path:
        from huggingface_hub import snapshot_download

        folder = snapshot_download(
            self.name, revision=self.revision, allow_patterns=list(PATTERNS), local_files_only=local_files_only
        )
        return Path(str(folder))
