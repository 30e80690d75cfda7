"""The config of `extract`: one flat object. It checks its options together, before anything is read.

This module loads nothing heavy, because the command line takes its defaults from here.
"""

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from ..errors import InputError, TooManyFailuresError
from ..reading.compression import without_codec
from ..reading.dialect import Dialect
from ..share import Share

TextUnit = Literal["line", "file"]
Mode = Literal["exact", "fast"]
Precision = Literal["auto", "float32", "bfloat16", "int8"]
Backend = Literal["local", "ray"]

ON_WHAT_IS_THERE = "--retry-failed works only on rows of a finished output"
_IN_A_FOLDER = "the output must be a folder on this machine, or one that it mounts"
_TOGETHER = {
    ("--incremental", "--shard"): "a growing folder has one writer; give each machine its own inputs and folder",
    ("--incremental", "--limit"): "nerx would never read the other rows of these inputs",
    ("--incremental", "--text-unit file"): "--incremental makes a part for each input, which is each text here",
    ("--retry-failed", "--incremental"): ON_WHAT_IS_THERE,
    ("--retry-failed", "--shard"): ON_WHAT_IS_THERE,
    ("--retry-failed", "--limit"): ON_WHAT_IS_THERE,
    ("--retry-failed", "--overwrite"): ON_WHAT_IS_THERE,
    ("--incremental", "an --out in a store"): _IN_A_FOLDER,
    ("--incremental", "--backend ray"): "--incremental works in one process",
    ("--retry-failed", "--backend ray"): "--retry-failed works in one process",
    ("--retry-failed", "an --out in a store"): _IN_A_FOLDER,
    ("--shard", "an --out in a store"): _IN_A_FOLDER + "; give each machine its own inputs and its own prefix",
}
_NEEDS = {
    "--workers": ("--backend ray",),
    "--prune": ("--incremental",),
    "--noop-code": ("--incremental", "--retry-failed"),
}


@dataclass(frozen=True, slots=True)
class FailureLimit:
    """How many rows may fail in a successful run: `number` rows, or `number` percent of the rows."""

    number: float
    is_percent: bool

    def __str__(self) -> str:
        return f"{self.number:,g}{'%' if self.is_percent else ''}"

    @classmethod
    def parse(cls, text: str) -> "FailureLimit":
        """The limit that `20`, `5%` or `0.5%` says. Raises InputError for anything else."""
        if not re.fullmatch(r"\d+|\d+(\.\d+)?%", text):
            raise InputError(f"--max-failures {text!r}: give a number of rows, or a share such as 5%")
        return cls(float(text.removesuffix("%")), text.endswith("%"))

    def require(self, failures: int, rows: int) -> None:
        """Raises TooManyFailuresError when `failures` of `rows` rows are too many."""
        allowed = self.number * rows / 100 if self.is_percent else self.number
        if failures > allowed:
            raise TooManyFailuresError(
                f"{failures:,} rows failed, more than --max-failures {self}; the output is complete; its column "
                "nerx_error says why they failed, and --retry-failed tries them again"
            )


@dataclass(frozen=True, slots=True)
class ExtractConfig:
    """All options of `extract`. Raises InputError for a wrong value, and for options that do not go together."""

    corpus: tuple[str, ...]
    """What to read: Parquet, JSONL, CSV and text, as files, folders, globs and URIs of object stores."""
    adapter: Path = Path("nerx-adapter")
    """The folder that `fit` made."""
    out: str | None = None
    """A `.parquet` file or a folder, here or in a store; None is CORPUS.nerx.parquet beside a single input."""
    overwrite: bool = False
    """Replace what is at `out`. This happens at the end of the run."""
    text_column: str | None = None
    """The column to read; None is `text`, or the only column of strings."""
    id_column: str | None = None
    """A column that the input must have. nerx never takes it for the text."""
    text_unit: TextUnit = "line"
    """What counts as one text in `.txt` files: a line, or the whole file."""
    delimiter: str | None = None
    """What splits the fields of CSV files, a character or `tab`; None is found in each header."""
    quote: str | None = None
    """What CSV fields are quoted with, or `none`; None is `"`, and refuses a record that can be read in two ways."""
    escape: str | None = None
    """What takes the meaning from the next character of a CSV file, mostly a backslash; None is nothing."""
    infer_types: bool = False
    """Give CSV columns types where each value, written back, has the same characters; else they are strings."""
    limit: int | None = None
    """Read only so many rows, the first ones."""
    min_score: float | None = None
    """Drop entities below this probability, from 0 to 1; None is the adapter's own."""
    max_failures: str = "50%"
    """The most rows that may fail in a successful run: a number, or a share such as `5%`. One bad row must not fail a
    night's run. If most rows fail, the machine is at fault and not the rows."""
    incremental: bool = False
    """Add what is new or changed to the folder `out`."""
    prune: bool = False
    """Drop the rows of inputs that are gone. Only with `incremental`."""
    retry_failed: bool = False
    """Extract again from the failed rows of a finished output. The corpus is not read."""
    noop_code: int = 0
    """The exit code of the command if there is nothing to do. Only with `incremental` or `retry_failed`."""
    shard: str | None = None
    """`2/4` does the second of four shares of the corpus. All shares fill the folder `out`."""
    batch_tokens: int | None = None
    """Padded tokens in one forward pass, prompt and answer. Fewer need less memory. None is by device."""
    mode: Mode = "exact"
    """`exact` decodes. `fast` keeps what the drafter proposes: it is quicker and finds other entities."""
    precision: Precision = "auto"
    """Number format of the weights. `auto` is float32 on a CPU and bfloat16 elsewhere."""
    backend: Backend = "local"
    """Where to work: in this process, or on a Ray cluster."""
    workers: int | None = None
    """Worker processes on the Ray cluster. None is one per GPU, or one per CPU where there is no GPU."""
    work_dir: Path | None = None
    """Where nerx builds an output before it uploads it to a store. None is a folder in $XDG_STATE_HOME."""
    device: str = "auto"
    """Where the model runs: auto, cpu, cuda, mps."""
    base: str | None = None
    """Where the adapter's base is now, a path or a hub id; None is where it was fitted."""

    def __post_init__(self) -> None:
        self._check_values()
        _refuse_clashes(self._given())
        self.share  # noqa: B018  # raises for what is no share
        self.dialect  # noqa: B018  # raises for what is no character
        self.target  # noqa: B018  # raises where it has to be said

    @property
    def share(self) -> Share | None:
        return Share.parse(self.shard) if self.shard else None

    @property
    def dialect(self) -> Dialect:
        """How CSV files are written."""
        return Dialect.parse(self.delimiter, self.quote, self.escape, self.infer_types)

    @property
    def target(self) -> Path:
        """The path of the output, given or by default. For an output in a store `out` holds the whole URI."""
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
        """Options by their names in messages. A false value means that the option is not given."""
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
    """The output beside a single input: `CORPUS.nerx.parquet`, or `CORPUS.nerx` if `folder`.

    Raises InputError for several inputs and for an input in a store: then the user has to name the output.
    """
    if "://" in corpus[0]:
        raise InputError("an input in a store: give --out, which says where the output goes")
    if len(corpus) > 1 or (set("*?[") & set(corpus[0]) and not Path(corpus[0]).exists()):
        raise InputError("several inputs: give --out, which says where the output goes")
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
