"""What a run reports on the way and at its end: plain data. This module loads nothing heavy."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ..origin import Origin

if TYPE_CHECKING:
    from ..tally import Tally
    from ..writing.increment import Increment

Stage = Literal["read", "compare", "note", "load", "count", "begin", "extract", "kept"]


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts so far. They include what earlier runs finished. `seconds` is the time spent on these rows."""

    rows: int
    total_rows: int
    entities: int
    failures: int
    tokens: int
    seconds: float

    @classmethod
    def of(cls, done: "Tally", total_rows: int) -> "Progress":
        return cls(done.rows, total_rows, done.entities, done.failures, done.tokens, done.seconds)


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of an incremental run, counted by what has happened to them. `gone` holds paths."""

    new: int
    changed: int
    renamed: int
    unchanged: int
    gone: tuple[str, ...]
    pruned: bool
    """Whether nerx drops the rows of inputs that are gone."""

    @classmethod
    def of(cls, increment: "Increment", *, prune: bool) -> "Inputs":
        gone = tuple(sorted(part.input.path for part in increment.gone))
        unchanged = len(increment.kept) - increment.renamed
        return cls(increment.new, increment.changed, increment.renamed, unchanged, gone, prune)

    @property
    def is_noop(self) -> bool:
        """Whether there is nothing to extract from."""
        return not (self.new or self.changed)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        counts = {"new": self.new, "changed": self.changed, "renamed": self.renamed, "unchanged": self.unchanged}
        return {**counts, "gone": list(self.gone), "gone_rows": "dropped" if self.pruned else "kept"}


@dataclass(frozen=True, slots=True)
class RetrySummary:
    """What a retry did. `rows` and `failures` count the whole output after the retry."""

    out: str
    rows: int
    retried: int
    recovered: int
    failures: int
    entities: int
    """Entities in the rows that were retried."""
    seconds: float
    interrupted: bool
    """Whether `stop` ended the retry. Rows that it did not reach are as they were, and a rerun continues."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What the output holds and what it cost, over all runs that made it. `Tally` explains the counts.

    `characters_in == characters_read` proves that no text was cut. A row for which this does not hold has failed.
    """

    rows: int
    texts: int
    entities: int
    entities_per_label: Mapping[str, int]
    failures: int
    characters_in: int
    characters_read: int
    tokens: int
    seconds: float
    shards: int
    resumed_rows: int
    """Rows that were finished before this run began."""
    out: str
    interrupted: bool
    """Whether `stop` ended the run. There is no output yet; finished rows are kept, and a rerun continues."""
    scores: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Label -> its entities by score, in `tally.SCORE_BINS` equal bins of [0, 1]."""
    repeats: int = 0
    rounds: int = 0
    drafted: int = 0
    accepted: int = 0
    stages: Mapping[str, float] = field(default_factory=dict)
    """Seconds per stage of this run alone: read, model, write, assemble."""
    inputs: Inputs | None = None
    """The inputs of an incremental run; None for other runs."""
    retry: RetrySummary | None = None
    """The result of a retry; None for other runs. All other counts are then those of the whole output."""
    left_out: Sequence[str] = ()
    """Paths in folders and globs that nerx does not read: files of other kinds, and links to folders."""

    @classmethod
    def of(
        cls,
        done: "Tally",
        *,
        shards: int,
        out: str,
        resumed_rows: int,
        interrupted: bool,
        stages: Mapping[str, float] | None = None,
    ) -> "RunSummary":
        """The summary of the finished rows, which `done` counts."""
        known: dict[str, Any] = asdict(done)
        return cls(
            **known, shards=shards, out=out, resumed_rows=resumed_rows, interrupted=interrupted, stages=stages or {}
        )

    @classmethod
    def nothing_new(cls, out: str, inputs: Inputs) -> "RunSummary":
        """The summary of an incremental run that found nothing new. Its counts are 0."""
        return cls(0, 0, 0, {}, 0, 0, 0, 0, 0.0, shards=0, resumed_rows=0, out=out, interrupted=False, inputs=inputs)

    @property
    def is_noop(self) -> bool:
        """Whether there was nothing to do: no input was new or changed, or no row had failed."""
        if self.retry is not None:
            return not (self.retry.retried or self.interrupted)
        return self.inputs is not None and self.inputs.is_noop

    def to_dict(self) -> dict[str, Any]:
        """For JSON. Leaves out the fields that this kind of run does not have."""
        told = {name: value for name, value in asdict(self).items() if name not in {"inputs", "retry", "left_out"}}
        told |= {"left_out": list(self.left_out)} if self.left_out else {}
        more = {"inputs": self.inputs, "retry": self.retry}
        return told | {name: one.to_dict() for name, one in more.items() if one is not None}


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a run would read. `tokens` and `seconds` are estimates from a sample; without an extractor they are None."""

    rows: int
    texts: int
    characters: int
    shards: int
    tokens: int | None = None
    seconds: float | None = None
    inputs: Inputs | None = None
    """The inputs of an incremental run, which would read the new and changed ones. None for other runs."""
    left_out: Sequence[str] = ()
    """As in a `RunSummary`."""

    @property
    def is_noop(self) -> bool:
        """Whether the run would have nothing to do."""
        return self.inputs is not None and self.inputs.is_noop

    def to_dict(self) -> dict[str, Any]:
        """For JSON. Leaves out `inputs` and `left_out` where there are none."""
        told = {name: value for name, value in asdict(self).items() if name not in {"inputs", "left_out"}}
        told |= {"left_out": list(self.left_out)} if self.left_out else {}
        return told | ({"inputs": self.inputs.to_dict()} if self.inputs else {})


@dataclass(frozen=True, slots=True)
class ExtractEvent:
    """Progress of `extract`. Each `stage` sets the fields that it knows; the others are None.

    read: the adapter's card has been read. compare: inputs have been compared with a growing output. note: `note` is
    for the user. load: a model is loading. count: an estimate counts rows. begin: work on rows begins, and `extract`
    asks `stop` from now on. extract: a batch is done. kept: an error ends the run, and `kept` counts the finished rows
    that stay.
    """

    stage: Stage
    origin: Origin | None = None
    inputs: Inputs | None = None
    input_digest: str | None = None
    total_rows: int | None = None
    progress: Progress | None = None
    kept: RunSummary | None = None
    note: str | None = None
