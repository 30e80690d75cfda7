"""How many parameters a base has, from the headers of its weights files. Reads no weights."""

import math
from pathlib import Path

from safetensors import SafetensorError, safe_open


def stored_parameters(folder: Path) -> int:
    """Number of parameters in a base folder's weights files. A file that nobody can read counts as 0."""
    return sum(map(_parameters, folder.glob("model*.safetensors")))


def _parameters(path: Path) -> int:
    try:
        with safe_open(path, "np") as file:
            return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118  # no dict
    except (OSError, SafetensorError):
        return 0
