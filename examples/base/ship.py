"""Write what priming changed in a base as the package data that ships: 3 bits a weight, and the drafter.

    nerx base get smollm2 --to /tmp/original          # before the first priming; else convert the GGUF by hand
    python examples/base/ship.py --original /tmp/original --tuned WORK/primed --data DATA --out engine/bases/smollm2

`--tuned` is a base folder whose weights were trained, with its drafter and its `training.json` (`stages` and `curve`).
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from corpora import read_sets
from safetensors.torch import load_file

from nerx.engine.bases.delta import write_delta

FROZEN = "embed_tokens"
"""Weights with this in their name were not trained."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--original", type=Path, required=True, help="the base before priming")
    parser.add_argument("--tuned", type=Path, required=True, help="the base after it, in float32")
    parser.add_argument("--data", type=Path, required=True, help="folder of annotated sets, for their licences")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "engine" / "bases" / "smollm2")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    lost = write_delta(_weights(options.original), _weights(options.tuned), options.out / "delta.safetensors")
    shutil.copyfile(options.tuned / "drafter.safetensors", options.out / "drafter.safetensors")
    training = {**json.loads((options.tuned / "training.json").read_text()), "energy_lost": round(lost, 4)}
    (options.out / "training.json").write_text(json.dumps(training, indent=1) + "\n")
    (options.out / "README.md").write_text(_card(training, _licences(options.data)), encoding="utf-8")
    for path in options.out.iterdir():
        path.chmod(0o644)
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    print(f"share of the difference's energy that is lost: {lost:.4f}")


def _weights(folder: Path) -> dict[str, Any]:
    return {name: weight for name, weight in load_file(folder / "model.safetensors").items() if FROZEN not in name}


def _licences(data: Path) -> list[tuple[str, str, str]]:
    metas = {one.name: json.loads((data / one.name / "meta.json").read_text()) for one in read_sets(data)}
    return [(name, meta["source"], meta["licence"]) for name, meta in metas.items()]


def _card(training: dict[str, Any], sets: list[tuple[str, str, str]]) -> str:
    stages = "\n".join(f"- {stage}" for stage in training["stages"])
    rows = "\n".join(f"| {name} | {source} | {licence} |" for name, source, licence in sets)
    losses = "\n".join(
        f"| {point['tokens']:,} | {point['legal']:.3f} | {point['draft']:.3f} | {point['contrast']:.2f} |"
        for point in training["curve"]
    )
    return f"""# The priming of smollm2

This folder makes SmolLM2-135M-Instruct (Hugging Face, Apache-2.0) a base of nerx. It holds how the tag stage changed
the weights of the first 20 layers, at 3 bits a weight, and a trained drafter. nerx adds the change once, when it
converts the model. The embeddings are those of the original.

{training["why"]}

## Training
{stages}

The change is stored with a loss of {100 * training["energy_lost"]:.1f} % of its energy.

| tokens | legal-token loss | draft loss | contrastive loss |
|---|---|---|---|
{losses}

The losses are running means over the texts that were being trained on.

## Data
Annotated sets only, their `train` splits (Few-NERD with its test split), without the texts that share 13 words in a row
with the sets kept for measuring: wnut17, mit_movie, mit_movie_trivia, crossner_science, sec_fin, tasteset.

| set | source | licence |
|---|---|---|
{rows}

Some of these texts are share-alike (CC BY-SA). No text is part of this folder.

## What it is bad at
Languages other than English, and labels whose names say little. It is made to be adapted with `nerx fit`.
"""


if __name__ == "__main__":
    main()
