"""The primed base: a folder that `--base` takes. It is written beside its final name, and renamed when complete."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from ...engine.bases.convert import keep_layers
from ...engine.bases.digest import IDENTITY
from ...engine.bases.find import DRAFTER, PRIMING
from ...engine.errors import OutputError
from ...engine.tagging.drafter import WINDOW
from ...engine.tagging.loading import load_base, write_lora_settings
from ..folder import peak_bytes
from .card import card
from .config import PrimeConfig
from .history import FILE, History
from .lora import export, peft_config
from .pupil import Pupil, stored_dtype
from .sampler import LONGEST
from .sets import Found

_OWN = {IDENTITY, FILE, DRAFTER, "README.md", "generation_config.json"}
"""Files of a base that are not copied: they say what the base was before."""

_ENDS = (".json", ".jinja", ".txt", ".model")
_STARTS = ("LICENSE", "LICENCE", "NOTICE")
"""How the names of a base's own files end or start, besides its weights."""


def check_free(out: Path) -> None:
    """Raises OutputError when `out` is in the way."""
    if out.exists():
        raise OutputError.exists_already(out, "use --out for another place, or remove it")


def write_base(
    pupil: Pupil, config: PrimeConfig, history: History, sets: Sequence[Found], curve: Sequence[dict[str, Any]]
) -> None:
    """Write the whole folder. Raises OutputError when it cannot be written."""
    out = config.out
    fresh = out.with_name(f".{out.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
        if config.all_weights:
            _write_weights(pupil, fresh)
        else:
            _write_frozen(pupil, config, fresh)
            _write_lora(pupil, config, fresh / PRIMING)
        _write_drafter(pupil.drafter, fresh / DRAFTER)
        _say_limit(fresh / "config.json", pupil)
        history.write(
            fresh,
            drafter_window=WINDOW,
            sets=[_told(one) for one in sets],
            rank=config.lora_rank,
            layers=config.layers,
            peak_bytes=peak_bytes(),
            curve=list(curve),
        )
        page = card(history, _changed(config), _licence(pupil.place), sets, curve, peak_bytes())
        (fresh / "README.md").write_text(page, encoding="utf-8")
        for path in fresh.rglob("*.safetensors"):
            path.chmod(0o644)  # safetensors writes files that only their owner may read
        fresh.rename(out)
    except OSError as error:
        raise OutputError(
            f"cannot write {out}: {error.strerror or error}; free the place and run the same command again"
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _write_frozen(pupil: Pupil, config: PrimeConfig, folder: Path) -> None:
    """The base without what was learned: its own files, or where it is cut, primed before or on the hub, new ones."""
    place = pupil.place
    if place.is_dir() and config.layers is None and not (place / PRIMING).is_dir():
        _copy(place, folder, weights=True)
        return
    dtype = stored_dtype(place) or torch.float32
    base = load_base(config.base, device="cpu", precision="bfloat16" if dtype == torch.bfloat16 else "float32")
    if config.layers is not None:
        keep_layers(base.network, config.layers)
    base.network.to(dtype).save_pretrained(folder)
    _write_tokenizer(pupil, folder)


def _write_weights(pupil: Pupil, folder: Path) -> None:
    """All weights in half precision; in bfloat16 where the base is, or where one is too large for float16."""
    network = pupil.model.network
    largest = max(float(weight.detach().abs().max()) for weight in network.parameters())
    is_wide = stored_dtype(pupil.place) == torch.bfloat16 or largest > torch.finfo(torch.float16).max
    network.to(torch.bfloat16 if is_wide else torch.float16).save_pretrained(folder)
    _write_tokenizer(pupil, folder)


def _write_tokenizer(pupil: Pupil, folder: Path) -> None:
    """The tokenizer's files, unchanged where they are at hand: saving them again may leave something out."""
    (folder / "generation_config.json").unlink(missing_ok=True)
    if pupil.place.is_dir():
        _copy(pupil.place, folder, weights=False)
    else:
        pupil.model.tokenizer.save_pretrained(folder)


def _copy(place: Path, folder: Path, *, weights: bool) -> None:
    """The base's own files that are not in `folder` yet."""
    for path in sorted(place.iterdir()):
        is_weights = path.name.startswith("model") and ".safetensors" in path.name
        is_other = path.name.endswith(_ENDS) or path.name.upper().startswith(_STARTS)
        wanted = weights if is_weights else is_other and path.name not in _OWN
        if wanted and path.is_file() and not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)


def _write_lora(pupil: Pupil, config: PrimeConfig, folder: Path) -> None:
    folder.mkdir()
    network = pupil.parts["network"]
    save_file(export(network), folder / "adapter_model.safetensors", metadata={"format": "pt"})
    write_lora_settings(folder / "adapter_config.json", peft_config(network, config.base, is_conv=pupil.is_conv))


def _write_drafter(drafter: nn.Module, path: Path) -> None:
    weights = {name: weight.detach().half().cpu().contiguous() for name, weight in drafter.state_dict().items()}
    save_file(weights, path, metadata={"format": "pt"})


def _say_limit(path: Path, pupil: Pupil) -> None:
    """Texts longer than what was trained on are cut into chunks of that length."""
    told = json.loads(path.read_text(encoding="utf-8"))
    told.get("text_config", told).setdefault("nerx_text_limit", longest(pupil))
    path.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def longest(pupil: Pupil) -> int:
    """Source tokens that an example may have."""
    limit: int = getattr(pupil.model.network.config.get_text_config(), "nerx_text_limit", LONGEST)
    return limit


def _changed(config: PrimeConfig) -> str:
    kept = f" Its first {config.layers} layers are kept." if config.layers else ""
    if config.all_weights:
        return f"All its weights learned, but for embeddings and output head.{kept}"
    return f"LoRA of rank {config.lora_rank} learned (`{PRIMING}/`, in PEFT's format).{kept}"


def _licence(place: Path) -> str:
    try:
        told = json.loads((place / IDENTITY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(told.get("licence", "")) if isinstance(told, dict) else ""


def _told(one: Found) -> dict[str, Any]:
    source = one.source
    counts = {"texts": len(one.content.rows), "left_out": one.left_out, "labels": list(one.content.labels.names)}
    return {"name": source.name, "origin": source.origin, "licence": source.licence, "digest": one.digest, **counts}
