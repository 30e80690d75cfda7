"""Writes the README.md of an adapter folder, a model card for people."""

from collections.abc import Sequence

from ..engine.tagging.card import AdapterCard

_BARS = "▁▂▃▄▅▆▇█"


def model_card(card: AdapterCard) -> str:
    """Markdown that says what the adapter finds, how well, how it was made, and how to use it."""
    labels = "\n".join(f"| {label.name} | {label.description or '-'} |" for label in card.labels)
    return f"""# nerx adapter: {", ".join(card.labels.names)}

A LoRA adapter and a drafter for few-shot entity extraction with nerx {card.nerx_version}, inspired by CLLMFS.

| label | description |
|---|---|
{labels}

## How well it does
{_scores(card)}

## How it was made
{card.seeds} seed texts (sha-256 {card.seeds_digest[:12]}), base `{card.base}` ({card.base_digest[:12]}),
rank {card.rank}, evidence weight alpha {card.alpha:g}, temperature {card.temperature:g};
entities less probable than {card.min_score:g} are left out unless `--min-score` says otherwise.
{card.seconds:.0f} s on {card.device}, {card.peak_bytes / 2**20:,.0f} MiB at most, {card.flops / 1e12:,.1f} TFLOP.

{_curve(card)}

## How to use it

    nerx extract corpus.parquet --adapter THIS_FOLDER

The LoRA weights load in plain PEFT too; the tag format and the drafter are nerx's.
"""


def _scores(card: AdapterCard) -> str:
    if "micro" not in card.scores:
        return "The seeds were too few to hold any out: measure it with `nerx eval`."
    rows = "\n".join(
        f"| {name} | {100 * counts['precision']:.1f} | {100 * counts['recall']:.1f} | {100 * counts['f1']:.1f} |"
        for name, counts in [*card.scores["per_label"].items(), ("all", card.scores["micro"])]
    )
    held = card.scores["held_out_texts"]
    return f"""Strict scores on {held} held-out texts, from a rehearsal without them; this adapter learned from all.

| label | precision | recall | F1 |
|---|---|---|---|
{rows}"""


def _curve(card: AdapterCard) -> str:
    if not card.curve:
        return ""
    rows = "\n".join(
        f"| {point['epoch']:.1f} | {point['loss']:.3f} | {point['contrast']:.3f} | {point['draft']:.3f} "
        f"| {100 * point['dev_f1']:.1f} |"
        for point in card.curve
    )
    line = sparkline([point["dev_f1"] for point in card.curve])
    return f"""Training curve, F1 on held-out texts {line}

| epoch | loss | contrast | draft | F1 |
|---|---|---|---|---|
{rows}"""


def sparkline(values: Sequence[float]) -> str:
    """One bar for each value from 0 to 1."""
    return "".join(_BARS[min(7, max(0, int(8 * value)))] for value in values)
