"""`nerx extract --incremental`: which inputs are worked on, and what is said of the others."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engine.origin import Origin

if TYPE_CHECKING:
    from ..engine.reading.corpus import Corpus
    from ..engine.writing.growing_sink import GrowingSink
    from ..engine.writing.increment import Increment

_NAMED = 5
"""So many inputs that are gone are named in the note; --json names all."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of one incremental run, counted by what became of them; `gone` are paths."""

    new: int
    changed: int
    renamed: int
    unchanged: int
    gone: tuple[str, ...]
    pruned: bool

    @classmethod
    def of(cls, increment: "Increment", *, prune: bool) -> "Inputs":
        gone = tuple(sorted(part.input.path for part in increment.gone))
        unchanged = len(increment.kept) - increment.renamed
        return cls(increment.new, increment.changed, increment.renamed, unchanged, gone, prune)

    def to_dict(self) -> Mapping[str, object]:
        """For JSON."""
        counts = {"new": self.new, "changed": self.changed, "renamed": self.renamed, "unchanged": self.unchanged}
        return {**counts, "gone": list(self.gone), "gone_rows": "dropped" if self.pruned else "kept"}

    def __str__(self) -> str:
        counts = {**self.to_dict(), "gone": len(self.gone)}
        names = ("new", "changed", "renamed", "unchanged", "gone")
        return ", ".join(f"{counts[name]:,} {name}" for name in names if counts[name]) or "none"

    @property
    def fact(self) -> tuple[str, str]:
        """For a table of facts."""
        return "inputs", str(self)

    @property
    def note(self) -> str | None:
        """What to say of inputs that are gone."""
        if not self.gone:
            return None
        rest = len(self.gone) - _NAMED
        names = ", ".join(self.gone[:_NAMED]) + (f" and {rest:,} more" if rest > 0 else "")
        fate = "their rows are dropped" if self.pruned else "their rows stay, --prune drops them"
        return f"{len(self.gone):,} inputs are gone ({fate}): {names}"


class Growth:
    """An incremental run: what is new in `paths` goes into the folder `out`. Use as a context manager.

    Inside, the output is locked. Nothing is loaded to find that nothing is new.
    """

    def __init__(
        self,
        paths: list[str],
        out: Path,
        origin: Origin,
        *,
        overwrite: bool,
        prune: bool,
    ) -> None:
        from ..engine.reading.listing import list_files
        from ..engine.writing.growing import GrowingOutput

        self.out = out
        self._files = list_files(paths)
        self._output = GrowingOutput(out, origin, overwrite=overwrite, prune=prune)
        self._prune = prune

    def __enter__(self) -> "Growth":
        self._output.__enter__()
        try:
            self._increment = self._output.compare(self._files)
        except BaseException:
            self._output.__exit__()
            raise
        self.inputs = Inputs.of(self._increment, prune=self._prune)
        return self

    def __exit__(self, *exception: object) -> None:
        self._output.__exit__()

    def open(self, **reading: Any) -> "Corpus | None":
        """The inputs that are new or changed, as a corpus; None when there are none.

        `reading` are options of :func:`~..engine.reading.corpus.open_corpus`.
        """
        if not self._increment.work:
            return None
        from ..engine.reading.corpus import open_corpus
        from ..engine.writing.part import part_columns

        files = [work.file for work in self._increment.work]
        known = part_columns(self._output.folder, self._output.parts[0]) if self._output.parts else None
        return open_corpus(files, **{**reading, "text_column": self._output.text_column}, known=known)

    def finish(self) -> None:
        """End a run that found nothing to extract from: note what was renamed, drop what is to be dropped."""
        self._output.finish()

    def sink(self, corpus: "Corpus", origin: Origin) -> "GrowingSink":
        from ..engine.writing.growing_sink import GrowingSink

        return GrowingSink(self._output, self._increment, corpus, origin)
