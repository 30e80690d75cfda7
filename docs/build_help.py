"""Writes help.md beside this file from the command's own help pages; `--check` only says whether it is up to date.

python docs/build_help.py
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.core import TyperGroup
from typer.main import get_command

from nerx.cli.app import app

PAGE = Path(__file__).with_name("help.md")
HEAD = "# Help pages\n\nWritten by `docs/build_help.py` (`make docs`); a test compares.\n"


def main() -> int:
    wanted = HEAD + "".join(_section(name) for name, _ in commands())
    if "--check" in sys.argv[1:]:
        return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != wanted)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


def commands(name: str = "", command: Any = None) -> Iterator[tuple[str, Any]]:
    """Every command with its name, `nerx` itself as "". A group comes before those inside it: `base`, `base list`."""
    command = command or get_command(app)
    yield name, command
    if isinstance(command, TyperGroup):
        for part, inner in command.commands.items():
            yield from commands(f"{name} {part}".strip(), inner)


def _section(command: str) -> str:
    words = ["nerx", *command.split(), "--help"]
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, check=True, env=environment, encoding="utf-8"
    )
    lines = [line.rstrip() for line in done.stdout.strip("\n").splitlines()]
    return f"\n## `{' '.join(words)}`\n\n```text\n" + "\n".join(lines) + "\n```\n"


if __name__ == "__main__":
    sys.exit(main())
