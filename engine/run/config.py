"""What `extract` is told: one flat config, whose options are checked together before anything is read.

Loads nothing heavy: the command line takes its defaults from here.
"""

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from ..errors import InputError, TooManyFailuresError
from ..reading.compression import without_codec
from ..reading.share import Share

TextUnit = Literal["line", "file"]
Mode = Literal["exact", "fast"]
Precision = Literal["auto", "float32", "bfloat16", "int8"]
Backend = Literal["local", "ray"]

ON_WHAT_IS_THERE = "it works on the rows of the output that is there"
_IN_A_FOLDER = "it works on a folder of this machine, or one that it mounts"
_TOGETHER = {
    ("--incremental", "--shard"): "a growing folder has one writer; give each machine inputs and a folder of its own",
    ("--incremental", "--limit"): "the first rows of a growing folder would be all that it ever reads",
    ("--incremental", "--text-unit file"): "it makes a part for each input, and would make one for each text",
    ("--retry-failed", "--incremental"): ON_WHAT_IS_THERE,
    ("--retry-failed", "--shard"): ON_WHAT_IS_THERE,
    ("--retry-failed", "--limit"): ON_WHAT_IS_THERE,
    ("--retry-failed", "--overwrite"): ON_WHAT_IS_THERE,
    ("--incremental", "an --out in a store"): _IN_A_FOLDER,
    ("--incremental", "--backend ray"): "what is new since the last run is worked on by one process",
    ("--retry-failed", "--backend ray"): "what has failed is worked on by one process",
    ("--retry-failed", "an --out in a store"): _IN_A_FOLDER,
    ("--shard", "an --out in a store"): _IN_A_FOLDER + "; give each machine inputs and a prefix of its own",
}
_NEEDS = {
    "--workers": ("--backend ray",),
    "--prune": ("--incremental",),
    "--noop-code": ("--incremental", "--retry-failed"),
}


@dataclass(frozen=True, slots=True)
class FailureLimit:
    """How many rows may fail before a finished run is no success: `number`, or that many in a hundred."""

    number: float
    is_percent: bool

    def __str__(self) -> str:
        return f"{self.number:,g}{'%' if self.is_percent else ''}"

    @classmethod
    def parse(cls, text: str) -> "FailureLimit":
        """Of `20`, `5%` or `0.5%`. Raises InputError."""
        if not re.fullmatch(r"\d+|\d+(\.\d+)?%", text):
            raise InputError(f"--max-failures {text!r}: write a number of rows, or a share such as 5%")
        return cls(float(text.removesuffix("%")), text.endswith("%"))

    def require(self, failures: int, rows: int) -> None:
        """Raises TooManyFailuresError when more of `rows` have failed."""
        allowed = self.number * rows / 100 if self.is_percent else self.number
        if failures > allowed:
            raise TooManyFailuresError(
                f"{failures:,} rows failed, more than --max-failures {self}; the output is complete, its column "
                "nerx_error says why, and --retry-failed tries these rows again"
            )


@dataclass(frozen=True, slots=True)
class ExtractConfig:
    """What `extract` is told. Raises InputError for values and options that make no sense together, or not alone."""

    corpus: tuple[str, ...]
    """Parquet, JSONL, CSV and text: files, folders, globs and URIs of object stores."""
    adapter: Path = Path("nerx-adapter")
    """The folder that `fit` made."""
    out: str | None = None
    """A `.parquet` file or a folder, here or in a store; None is CORPUS.nerx.parquet beside a single input."""
    overwrite: bool = False
    """Replace what is at `out`, at the end."""
    text_column: str | None = None
    """The column to read; None is `text`, or the only column of strings."""
    id_column: str | None = None
    """A column that must be there and is never taken for the text."""
    text_unit: TextUnit = "line"
    """What a text is in `.txt` files: a line, or the whole file."""
    limit: int | None = None
    """Read the first rows only, so many."""
    min_score: float | None = None
    """Drop entities below this probability, from 0 to 1; None is the adapter's own."""
    max_failures: str = "50%"
    """A number of rows or a share of them: more failing is no success. One bad row must not fail a night's run, and
    most rows failing is the machine's fault and not theirs."""
    incremental: bool = False
    """Add what is new or changed to the folder `out`."""
    prune: bool = False
    """Drop the rows of inputs that are gone; for `incremental`."""
    retry_failed: bool = False
    """Extract once more from the failed rows of a finished output, and read no corpus."""
    noop_code: int = 0
    """What the command exits with when there was nothing to do; for `incremental` and `retry_failed`."""
    shard: str | None = None
    """`2/4`: do the second of four shares of the corpus; all of them fill the folder `out`."""
    batch_tokens: int | None = None
    """Padded tokens in one forward pass, prompt and answer; None is by device. Less needs less memory."""
    mode: Mode = "exact"
    """`fast` takes the drafter's word for it, without generation: other entities."""
    precision: Precision = "auto"
    """Of the weights; `auto` is float32 on a CPU and bfloat16 elsewhere."""
    backend: Backend = "local"
    """Where to work: in this process, or on a Ray cluster."""
    workers: int | None = None
    """Processes of the Ray cluster; None is one a GPU, else one a CPU."""
    work_dir: Path | None = None
    """Where an output in a store is built before it is uploaded; None is in $XDG_STATE_HOME."""
    device: str = "auto"
    """Where the model runs: auto, cpu, cuda, mps."""
    base: str | None = None
    """Where the adapter's base is now, a path or a hub id; None is where it was fitted."""

    def __post_init__(self) -> None:
        self._check_values()
        _refuse_clashes(self._given())
        self.share  # noqa: B018  # raises for what is no share
        self.target  # noqa: B018  # raises where it has to be said

    @property
    def share(self) -> Share | None:
        return Share.parse(self.shard) if self.shard else None

    @property
    def target(self) -> Path:
        """The path of the output, also where nothing was said. For one in a store `out` has the whole URI."""
        return Path(self.out) if self.out else default_output(self.corpus, folder=self.incremental or bool(self.shard))

    @property
    def failure_limit(self) -> FailureLimit:
        return FailureLimit.parse(self.max_failures)

    def _check_values(self) -> None:
        self.failure_limit  # noqa: B018  # raises for what is none
        if not self.corpus:
            raise InputError("no corpus: name files, folders, globs or URIs to read")
        for name, kind in (("text_unit", TextUnit), ("mode", Mode), ("precision", Precision), ("backend", Backend)):
            if (value := getattr(self, name)) not in get_args(kind):
                raise InputError(f"--{name.replace('_', '-')} {value!r}: choose one of {', '.join(get_args(kind))}")
        for name in ("limit", "batch_tokens", "workers"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise InputError(f"--{name.replace('_', '-')} {value}: must be at least 1")
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise InputError(f"--min-score {self.min_score}: a probability is from 0 to 1")

    def _given(self) -> Mapping[str, object]:
        """Options by the names that messages call them; those that are false are not given."""
        return {
            "--incremental": self.incremental,
            "--retry-failed": self.retry_failed,
            "--shard": self.shard,
            "--limit": self.limit,
            "--overwrite": self.overwrite,
            "--prune": self.prune,
            "--noop-code": self.noop_code,
            "--text-unit file": self.text_unit == "file",
            "an --out in a store": self.out is not None and "://" in self.out,
            "--backend ray": self.backend == "ray",
            "--workers": self.workers,
        }


DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {field.name: field.default for field in fields(ExtractConfig) if field.default is not MISSING}
)
"""Field -> default. A class with slots does not have them as attributes."""


def default_output(corpus: tuple[str, ...], *, folder: bool = False) -> Path:
    """`CORPUS.nerx.parquet` beside a single input, `CORPUS.nerx` for a folder.

    Raises InputError where "beside" has no one meaning.
    """
    if "://" in corpus[0]:
        raise InputError("an input in a store: say with --out where the result goes")
    if len(corpus) > 1 or (set("*?[") & set(corpus[0]) and not Path(corpus[0]).exists()):
        raise InputError("several inputs: say with --out where the result goes")
    source = Path(corpus[0])
    stem = source.name if source.is_dir() else without_codec(source.name).rpartition(".")[0]
    return source.with_name(f"{stem or source.resolve().name}.nerx{'' if folder else '.parquet'}")


def _refuse_clashes(given: Mapping[str, object]) -> None:
    """Raises InputError for the first clash."""
    for (first, second), reason in _TOGETHER.items():
        if given[first] and given[second]:
            raise InputError(f"{first} and {second} do not go together: {reason}")
    for option, needed in _NEEDS.items():
        if given[option] and not any(given[name] for name in needed):
            raise InputError(f"{option} goes with {' or '.join(needed)} only")
