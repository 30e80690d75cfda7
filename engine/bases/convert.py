"""A GGUF file as an ordinary checkpoint folder, in half precision. Loads torch when it is used, not before.

transformers reads the file (the package `gguf` knows the format and its quantisations); what it gives back still calls
itself quantised and cannot be saved or trained, so a plain network is filled from its weights.
"""

import contextlib
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import AdapterError
from .digest import IDENTITY, content_digests

_BYTES_OF_TOKENIZER = 30_000_000
"""Of the largest vocabularies, as JSON."""

_UNREADABLE = (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError)
"""What the readers of GGUF raise on a file that is none, is cut off, or lacks a field."""


def convert(
    gguf: Path, folder: Path, *, layers: int | None = None, text_limit: int | None = None, delta: Path | None = None
) -> None:
    """Write config, tokenizer and weights of `gguf` into `folder`. The same files give the same weights everywhere.

    layers: keep so many from the embeddings on, and leave the rest out. text_limit: source tokens of a chunk, for the
    config. delta: what priming changed (see :mod:`.delta`), added to the weights.
    Raises AdapterError for a file that is no GGUF, or of a family that transformers cannot read.
    """
    network, tokenizer = _read(gguf)
    if layers is not None:
        keep_layers(network, layers)
    if text_limit is not None:
        network.config.nerx_text_limit = text_limit
    if delta is not None:
        from .delta import add_delta

        add_delta(network, delta)
    _save(network.half(), tokenizer, folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors writes files that only their owner may read


def converted_size(gguf: Path) -> int:
    """Bytes that :func:`convert` will write, about. Raises AdapterError for a file that is no GGUF."""
    _require_gguf(gguf)
    from gguf import GGUFReader

    try:
        return _BYTES_OF_TOKENIZER + 2 * sum(int(tensor.n_elements) for tensor in GGUFReader(gguf).tensors)
    except _UNREADABLE as error:
        raise AdapterError(_cannot_read(gguf, error)) from error


def _require_gguf(path: Path) -> None:
    try:
        import gguf  # noqa: F401  # transformers asks for it with an error that names no nerx
    except ImportError as error:
        raise AdapterError(f"{path} is a GGUF file, and the package `gguf` is missing: pip install gguf") from error


def _cannot_read(path: Path, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return (
        f"{path}: cannot be read as a GGUF model ({reason}): it is damaged, or of a family that transformers does not "
        "read from GGUF (it reads Llama, Qwen, Gemma, Mistral and more); give another file, or a checkpoint folder"
    )


def keep_layers(network: Any, count: int) -> None:
    """Keep the first `count` layers of a network, in place."""
    network.base_model.layers = network.base_model.layers[:count]
    network.config.num_hidden_layers = count
    if getattr(network.config, "layer_types", None):
        network.config.layer_types = network.config.layer_types[:count]


def _read(path: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _require_gguf(path)
    where = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    try:
        with _without_bars():
            loaded = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(**where)
    except (*_UNREADABLE, NotImplementedError) as error:
        raise AdapterError(_cannot_read(path, error)) from error
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):  # without drawing random weights first
        network = type(loaded)(config)
    network.load_state_dict(loaded.state_dict(), assign=True)
    network.tie_weights()
    return network, tokenizer


def _save(network: Any, tokenizer: Any, folder: Path) -> None:
    from safetensors import SafetensorError

    try:
        with _without_bars():
            network.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except SafetensorError as error:
        raise OSError(str(error)) from error  # as which a full disk is known everywhere else


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    """transformers draws bars that would break into ours, and has no switch for that of a GGUF file."""
    from tqdm.auto import tqdm

    drawing = tqdm.__init__
    tqdm.__init__ = functools.partialmethod(drawing, disable=True)
    try:
        yield
    finally:
        tqdm.__init__ = drawing


def write_identity(folder: Path, **told: Any) -> None:
    """`base.json`: where a converted base is from, its digest, and the digests of the files as they are now."""
    told["files"] = content_digests(folder)
    (folder / IDENTITY).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
