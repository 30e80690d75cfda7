"""Write the trained base as a plain Hugging Face checkpoint folder, in half precision, with its drafter and card.

python examples/base/export.py --work examples/base/work --out engine/embedded
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from warm_start import encoder_folder, warm_start

from nerx.engine.drafter import WINDOW, Drafter

TEXT_LIMIT = 150


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(__file__).parent / "work")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "engine" / "embedded")
    options = parser.parse_args()
    saved = torch.load(options.work / "checkpoint.pt", weights_only=True)
    parts = saved["parts"]
    network = warm_start()
    network.load_state_dict(_part(parts, "network."))
    network.config.nerx_text_limit = TEXT_LIMIT
    options.out.mkdir(parents=True, exist_ok=True)
    network.half().save_pretrained(options.out)
    (options.out / "generation_config.json").unlink(missing_ok=True)
    drafter = Drafter(network.config.hidden_size)
    drafter.load_state_dict(_part(parts, "drafter."))
    weights = {name: weight.half().contiguous() for name, weight in drafter.state_dict().items()}
    save_file(weights, options.out / "drafter.safetensors")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copy(encoder_folder() / name, options.out / name)
    seen, step, _, seconds = saved["progress"]
    record = {"tokens": seen, "steps": step, "seconds": round(seconds), "drafter_window": WINDOW}
    record["parameters"] = sum(weight.numel() for weight in [*network.parameters(), *drafter.parameters()])
    record["curve"] = curve(options.work / "log.jsonl")
    (options.out / "training.json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({name: value for name, value in record.items() if name != "curve"}))


def curve(log: Path, points: int = 24) -> list[dict[str, Any]]:
    """Evenly spaced records of the training log."""
    records = [json.loads(line) for line in log.read_text().splitlines()]
    return [records[(len(records) - 1) * k // (points - 1)] for k in range(points)] if records else []


def _part(parts: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): weight for name, weight in parts.items() if name.startswith(prefix)}


if __name__ == "__main__":
    main()
