"""The README.md of a primed base: a model card for people."""

from collections.abc import Sequence
from typing import Any

from .history import History
from .sets import Found


def card(
    history: History, changed: str, licence: str, sets: Sequence[Found], curve: Sequence[dict[str, Any]], peak: int
) -> str:
    """Markdown. `changed` says what learned, `licence` is that of the base, `peak` the most memory held, in bytes."""
    rows = "\n".join(
        f"| {one.source.name} | {len(one.content.rows):,} | {len(one.content.labels)} "
        f"| {one.source.origin or '-'} | {one.source.licence or '-'} |"
        for one in sets
    )
    losses = "\n".join(
        f"| {point['tokens']:,} | {point['legal']:.3f} | {point['draft']:.3f} | {point['contrast']:.2f} |"
        for point in curve
    )
    stages = "\n".join(stage.told() for stage in history.stages)
    left_out = sum(one.left_out for one in sets)
    held_out = f"\n{left_out:,} texts were left out, because they share words with held-out sets.\n" if left_out else ""
    return f"""# A primed base for nerx

A causal language model that writes a text again with its entities marked, and a drafter that proposes the marked text
at once. It began as `{history.origin}`{f" ({licence})" if licence else ""}. {changed}

{stages}
- {peak / 2**20:,.0f} MiB of memory at most

## Training
| tokens | legal-token loss | draft loss | contrastive loss |
|---|---|---|---|
{losses}

## Data
| set | texts | labels | source | licence |
|---|---|---|---|---|
{rows}
{held_out}
No text is part of this folder. The licence of the base applies, and so may those of the sets.

## How to use it

    nerx fit seeds.jsonl --base THIS_FOLDER
"""
