"""A GGUF file as an ordinary checkpoint folder, in half precision. Loads torch when it is used, not before.

transformers reads the file (the package `gguf` knows the format and its quantisations); what it gives back still calls
itself quantised and cannot be saved or trained, so a plain network is filled from its weights.
"""

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import AdapterError
from .digest import IDENTITY


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
    with _without_bars():
        network.half().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors writes files that only their owner may read


def keep_layers(network: Any, count: int) -> None:
    """Keep the first `count` layers of a network, in place."""
    network.base_model.layers = network.base_model.layers[:count]
    network.config.num_hidden_layers = count
    if getattr(network.config, "layer_types", None):
        network.config.layer_types = network.config.layer_types[:count]


def _read(path: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        import gguf  # noqa: F401  # transformers asks for it with an error that names no nerx
    except ImportError as error:
        raise AdapterError(f"{path} is a GGUF file, and the package `gguf` is missing: pip install gguf") from error
    where = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    try:
        with _without_bars():
            loaded = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(**where)
    except (OSError, ValueError, KeyError, IndexError, NotImplementedError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise AdapterError(
            f"{path}: cannot be read as a GGUF model ({reason}); give one of a family that transformers reads from "
            "GGUF (Llama, Qwen, Gemma, Mistral, ...), or a checkpoint folder"
        ) from error
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):  # without drawing random weights first
        network = type(loaded)(config)
    network.load_state_dict(loaded.state_dict(), assign=True)
    network.tie_weights()
    return network, tokenizer


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    """transformers draws progress bars on stderr that would break into ours."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield


def write_identity(folder: Path, **told: Any) -> None:
    """`base.json`: where a converted base is from, and its digest."""
    (folder / IDENTITY).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
