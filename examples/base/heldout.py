"""The development sets: what the recipe trains on shares no text with them."""

from pathlib import Path

from nerx.adapters.priming.heldout import HeldOut

DEVELOPMENT = ("wnut17", "mit_movie", "mit_movie_trivia", "crossner_science", "sec_fin", "tasteset")
"""Sets kept for measuring, with all their splits and seeds."""


def read_held_out(data: Path, names: tuple[str, ...] = DEVELOPMENT) -> HeldOut:
    """Every text of those of the sets `names` that are under `data`."""
    return HeldOut.read([data / name for name in names])
