"""How many numbers the weight files of a base hold, from their headers. Reads no weights and loads no torch."""

import json
import math
import struct
from pathlib import Path


def stored_parameters(folder: Path) -> int:
    """Parameters in a base folder's safetensors files. 0 where there are none, or none that can be read."""
    return sum(_parameters(path) for path in folder.glob("*.safetensors") if path.name != "drafter.safetensors")


def _parameters(path: Path) -> int:
    """A safetensors file begins with the length of its header, 8 bytes, and the header as JSON."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, path.stat().st_size)))
        return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    except (OSError, struct.error, ValueError, TypeError, KeyError, AttributeError):
        return 0
