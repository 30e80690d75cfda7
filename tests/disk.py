"""A small file system of its own: to be filled up, to be made read-only."""

import subprocess
from pathlib import Path


class MountError(Exception):
    """Mounting takes root."""


class Disk:
    """A tmpfs at `folder`, once it is mounted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def mount(self, options: str) -> None:
        """Raises MountError."""
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise MountError(str(error)) from error
        if done.returncode:
            raise MountError(done.stderr.strip())

    def remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.folder)], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", str(self.folder)], check=False, capture_output=True)
