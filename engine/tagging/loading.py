"""Loads a base, an adapter and a drafter: finds them, places them on a device, and sets their precision.

Knows nothing of prompts or decoding. The network it loads is wrapped as a :class:`~.model.LanguageModel`.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ..bases.digest import base_digest, identity
from ..bases.find import PRIMING, Tell, find_base, full_name
from ..errors import AdapterError
from .allocator import keep_freed_memory
from .card import AdapterCard
from .drafter import Drafter
from .model import LanguageModel, trunk
from .packing import ATTENTION

Precision = Literal["auto", "float32", "bfloat16", "int8"]
"""Number format of the weights. `auto` is float32 on a CPU and bfloat16 on a GPU. In float32 the entities do not depend
on what shares the batch, and scores move by 2e-6. In bfloat16 an entity near a decision may change, in 1 text of 329.
int8 is for CPUs: dynamic quantisation, activations scaled by batch."""


LORA_KEYS = frozenset(
    {"base_model_name_or_path", "bias", "fan_in_fan_out", "inference_mode", "lora_alpha", "lora_dropout", "peft_type"}
    | {"peft_version", "r", "revision", "target_modules", "task_type"}
)
"""What `adapter_config.json` may hold. PEFT has a default for everything else."""

_IDLE = (("init_lora_weights", True), ("megatron_core", "megatron.core"), ("qalora_group_size", 16))
"""Defaults of PEFT that an earlier nerx wrote too. They do nothing on their own."""


def load_base(
    base: str | Path = "embedded",
    *,
    device: str = "auto",
    precision: Precision = "auto",
    trust_remote_code: bool = False,
    tell: Tell | None = None,
) -> LanguageModel:
    """Load a base by name, folder, GGUF file or hub id. In int8 its weights come as float32.

    nerx first fetches a named base that is not on this machine; `tell` gets events about that. LoRA weights of the tag
    stage (the folder `priming`) are merged into the base's weights.
    Raises AdapterError when there is no such causal LM, or none that nerx can drive.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = find_base(base, tell)
    target = pick_device(device)
    dtype = dtype_of(precision, target)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(place), trust_remote_code=trust_remote_code)
        network = AutoModelForCausalLM.from_pretrained(
            str(place),
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            attn_implementation=ATTENTION,
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        remedy = "give a folder or hub id of a causal LM"
        if identity(place) is not None:
            remedy = f"remove {place} and run it again"
        raise AdapterError(f"cannot load base {base}: {reason}; {remedy}") from error
    if not getattr(tokenizer, "is_fast", False):
        raise AdapterError(f"base {base} has no fast tokenizer, which exact offsets need: use another base")
    if (place / PRIMING).is_dir():
        network = _merged(network, place / PRIMING)
    network.eval().to(target)
    prepare_process(target)
    return LanguageModel(network, tokenizer, full_name(base, place), base_digest(place))


def load_drafter(folder: Path, width: int) -> Drafter | None:
    """The drafter beside a checkpoint or an adapter, if there is one."""
    path = folder / "drafter.safetensors"
    if not path.is_file():
        return None
    drafter = Drafter(width)
    try:
        drafter.load_state_dict({name: weight.float() for name, weight in load_file(path).items()})
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise AdapterError(f"cannot load {path}: {reason}; fit the adapter again") from error
    return drafter.eval()


def load_adapted(
    card: AdapterCard,
    adapter: Path,
    *,
    base: str | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    tell: Tell | None = None,
) -> tuple[LanguageModel, Drafter | None]:
    """The card's base with the adapter merged into its weights, and the adapter's drafter."""
    card.check_base(find_base(base or card.base, tell))
    model = load_base(base or card.base, device=device, precision=precision, tell=tell)
    network = _merged(model.network, adapter)
    drafter = load_drafter(adapter, model.width)
    if drafter is not None:
        drafter.to(model.device, dtype=next(network.parameters()).dtype)
    if precision == "int8":
        quantise(trunk(network))  # not the output head, of which a few rows are read
        if drafter is not None:
            quantise(drafter)
    return LanguageModel(network.eval(), model.tokenizer, model.name, model.digest), drafter


def prepare_process(device: torch.device) -> None:
    """Settings of this process for batches whose shapes differ from one to the next.

    On Hopper and later PyTorch gives attention to cuDNN first, which builds a plan for every new shape: a second each
    in FunASR issue 3704. The other fused kernels take the same masks.
    """
    if device.type == "cpu":
        keep_freed_memory()
    elif device.type == "cuda":
        torch.backends.cuda.enable_cudnn_sdp(False)


def use_threads(count: int | None = None) -> int:
    """Have PyTorch work with `count` CPU threads, if given; returns how many it uses."""
    if count:
        torch.set_num_threads(count)
    return torch.get_num_threads()


def dtype_of(precision: Precision, device: torch.device) -> torch.dtype:
    """The type in which weights are loaded. Raises AdapterError for int8 on anything but a CPU."""
    if precision == "int8" and device.type != "cpu":
        raise AdapterError(f"--precision int8 is for CPUs, not for {device.type}: use bfloat16 there")
    if precision == "auto":
        precision = "float32" if device.type == "cpu" else "bfloat16"
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def quantise(module: nn.Module) -> None:
    """Make a module's linear layers int8, in place. Activations are quantised on the way, with one scale per batch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch is moving this to another package
        torch.ao.quantization.quantize_dynamic(  # type: ignore[no-untyped-call]
            module, {nn.Linear}, dtype=torch.qint8, inplace=True
        )


def _merged(network: Any, folder: Path) -> Any:
    """The network with a folder's LoRA weights merged into its own. PEFT itself never reads the folder's config."""
    from peft import LoraConfig, PeftModel

    told = _lora_settings(folder / "adapter_config.json")
    try:
        config = LoraConfig(**told, task_type="CAUSAL_LM", inference_mode=True)
        return PeftModel.from_pretrained(network, str(folder), config=config).merge_and_unload()
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise AdapterError(f"cannot load adapter {folder}: {reason}; fit it again") from error


def _lora_settings(path: Path) -> dict[str, Any]:
    """What a config that nerx wrote says of its layers. Raises AdapterError for any other config.

    PEFT knows dozens of methods and options, and some of them import what the config names. So only the keys that nerx
    writes may say something; others may be there with a value that asks for nothing.
    """
    try:
        told = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise AdapterError(f"{path}: cannot be read ({error}); fit it again") from error
    if told.get("peft_type") != "LORA":
        raise AdapterError(f"{path}: peft_type is {told.get('peft_type')!r}, not 'LORA'; fit it again")
    for name, value in told.items():
        if name not in LORA_KEYS and value and (name, value) not in _IDLE:
            raise AdapterError(f"{path}: nerx writes no {name!r}, which is {str(value)[:60]!r} here; fit it again")
    layers = told.get("target_modules")
    numbers = told.get("r"), told.get("lora_alpha")
    is_sound = isinstance(layers, list) and layers and all(isinstance(name, str) for name in layers)
    if not is_sound or not all(isinstance(number, int | float) and number > 0 for number in numbers):
        raise AdapterError(f"{path}: r, lora_alpha or target_modules are not as nerx writes them; fit it again")
    chosen = {name: told[name] for name in ("r", "lora_alpha", "target_modules")}
    return {**chosen, "fan_in_fan_out": told.get("fan_in_fan_out") is True}


def write_lora_settings(path: Path, told: Mapping[str, Any]) -> None:
    """Write PEFT's `adapter_config.json` with the keys that nerx reads again, and no others."""
    kept = {name: value for name, value in told.items() if name in LORA_KEYS}
    path.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def pick_device(device: str) -> torch.device:
    """`auto` is CUDA, then Apple's MPS, then CPU. Raises AdapterError for a device that is not there."""
    if device != "auto":
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            raise AdapterError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
