"""Options that several commands share."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from ..engine.run.config import DEFAULTS
from . import console
from .console import LogFormat

PATHS = ("CORPUS", "PATH", "BASE", "PATH_OR_HUB_ID")
"""Metavars of parameters that take a path as a string."""

TUNING = "Fine tuning"
RUNNING = "Running"
CSV = "CSV and TSV"


class Command(TyperCommand):
    """A command that takes `~` in a path for the home folder, also where no shell has done so: `--out=~/new`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        rest: list[str] = super().parse_args(ctx, args)
        for param in self.params:
            if param.name in ctx.params:
                ctx.params[param.name] = from_home(ctx.params[param.name], is_path=param.metavar in PATHS)
        return rest


def from_home(value: Any, *, is_path: bool) -> Any:
    """The value of a parameter, with the home folder for a leading `~`. Of strings, where they are paths."""
    if isinstance(value, list | tuple):
        return type(value)(from_home(one, is_path=is_path) for one in value)
    if isinstance(value, Path) or (isinstance(value, str) and is_path):
        return type(value)(os.path.expanduser(value))  # noqa: PTH111  # unlike Path it leaves `~nobody` as it is
    return value


class Device(StrEnum):
    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class Precision(StrEnum):
    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"


class Mode(StrEnum):
    EXACT = "exact"
    FAST = "fast"


class Backend(StrEnum):
    LOCAL = "local"
    RAY = "ray"


ADAPTER: Path = DEFAULTS["adapter"]
DEVICE = Device(DEFAULTS["device"])
PRECISION = Precision(DEFAULTS["precision"])
MODE = Mode(DEFAULTS["mode"])
BACKEND = Backend(DEFAULTS["backend"])
AdapterOption = Annotated[
    Path, typer.Option(metavar="DIR", envvar="NERX_ADAPTER", help="The adapter folder that `nerx fit` made.")
]
BatchTokensOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Tokens in one pass of the model. Fewer tokens need less memory.",
        show_default="by device",
        rich_help_panel=RUNNING,
    ),
]
ModeOption = Annotated[
    Mode,
    typer.Option(
        help="fast keeps what the drafter proposes. It is quicker and finds other entities.", rich_help_panel=RUNNING
    ),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        help="Number format of the weights. auto is float32 on a CPU, bfloat16 elsewhere.", rich_help_panel=RUNNING
    ),
]
DelimiterOption = Annotated[
    str | None,
    typer.Option(
        metavar="CHAR|tab",
        help="Character between the fields of a CSV line.",
        show_default="found in the header",
        rich_help_panel=CSV,
    ),
]
QuoteOption = Annotated[
    str | None,
    typer.Option(
        metavar="CHAR|none",
        help="Character around quoted CSV fields. none: a quote is a plain character.",
        show_default="a double quote",
        rich_help_panel=CSV,
    ),
]
EscapeOption = Annotated[
    str | None,
    typer.Option(
        metavar="CHAR",
        help=r"Character before a quote inside a CSV field, often \. nerx drops it.",
        show_default="quotes are doubled",
        rich_help_panel=CSV,
    ),
]
InferTypesOption = Annotated[
    bool,
    typer.Option(
        "--infer-types",
        metavar="",
        help="Give a CSV column a type if all its values stay as written. Others are strings.",
        rich_help_panel=CSV,
    ),
]
DeviceOption = Annotated[
    Device, typer.Option(help="Where the model runs. auto takes a GPU if there is one.", rich_help_panel=RUNNING)
]
BaseOption = Annotated[
    str | None,
    typer.Option(
        metavar="PATH_OR_HUB_ID",
        help="Where the adapter's base is now, if it was moved.",
        show_default="as fitted",
        rich_help_panel=RUNNING,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", metavar="", help="Print the result as one line of JSON.", rich_help_panel=RUNNING)
]
QuietOption = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", metavar="", help="Print no progress and no notes. Errors still show.", rich_help_panel=RUNNING
    ),
]
LogFormatOption = Annotated[
    LogFormat,
    typer.Option(
        callback=console.log_as,
        is_eager=True,  # so that errors about other options are printed in this form
        help="Print progress and errors as text, or as one JSON object per line.",
        rich_help_panel=RUNNING,
    ),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", metavar="", help="Replace what is at --out.")]
ReportOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE.json", help="Also write the result as JSON to this file.", rich_help_panel=RUNNING),
]
MetricsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.prom", help="Also write the key numbers for Prometheus (OpenMetrics).", rich_help_panel=RUNNING
    ),
]
OutOption = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Where to write: a .parquet file or a folder, here or in a store.",
        show_default="CORPUS.nerx.parquet beside the input",
    ),
]
WorkDirOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        envvar="NERX_WORK_DIR",
        help="Where nerx builds an output before it uploads it to a store.",
        show_default="~/.local/state/nerx",
        rich_help_panel=RUNNING,
    ),
]
BackendOption = Annotated[
    Backend, typer.Option(help="Work in this process, or on a Ray cluster.", rich_help_panel=RUNNING)
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Number of worker processes on the Ray cluster.",
        show_default="one per GPU, or per CPU",
        rich_help_panel=RUNNING,
    ),
]
