"""What a run tells while it is under way and when it ends. Plain data: loads nothing that works."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..tally import Tally


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts so far, of the parts finished by earlier runs too. `seconds` is time spent working on them."""

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
class RunSummary:
    """What the output holds and what it took, over all runs that made it. See `Tally` for the counts.

    `characters_in == characters_read` proves that no text was cut; a row for which it does not hold has failed.
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
    """`stop` ended the run: the output is not there yet, what is finished is kept, a rerun goes on."""
    scores: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Label -> its entities by score, in `tally.SCORE_BINS` equal bins of [0, 1]."""
    repeats: int = 0
    rounds: int = 0
    drafted: int = 0
    accepted: int = 0
    stages: Mapping[str, float] = field(default_factory=dict)
    """Seconds per stage, of this run alone: read, model, write, assemble."""

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
        """What is finished, as counted in `done`."""
        known: dict[str, Any] = asdict(done)
        return cls(
            **known, shards=shards, out=out, resumed_rows=resumed_rows, interrupted=interrupted, stages=stages or {}
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RetrySummary:
    """What a retry did. `rows` and `failures` are those of the whole output, afterwards."""

    out: str
    rows: int
    retried: int
    recovered: int
    failures: int
    entities: int
    """Found in the rows that were retried."""
    seconds: float
    interrupted: bool
    """`stop` ended the retry: rows that it did not come to are as they were, a rerun goes on."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a run would read. `tokens` and `seconds` are estimates from a sample, None without an extractor."""

    rows: int
    texts: int
    characters: int
    shards: int
    tokens: int | None = None
    seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
