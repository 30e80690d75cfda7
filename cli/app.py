"""The command `nerx`: its commands, and the edge where errors become one line and an exit code."""

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from .. import __version__
from ..engine.errors import NerxError
from . import bench, console, eval, extract, fit, inspect, view  # noqa: A004  # commands are called what users type
from .interrupt import exit_on_signals

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,  # its traceback shows locals, and locals hold corpus text
    context_settings={"help_option_names": ["-h", "--help"]},
)
_WORK, _LOOK = "Work", "Look"
app.command("fit", rich_help_panel=_WORK)(fit.fit)
app.command("extract", rich_help_panel=_WORK)(extract.extract)
app.command("eval", rich_help_panel=_LOOK)(eval.evaluate)
app.command("bench", rich_help_panel=_LOOK)(bench.bench)
app.command("view", rich_help_panel=_LOOK)(view.view)
app.command("inspect", rich_help_panel=_LOOK)(inspect.inspect)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nerx {__version__}")
        raise typer.Exit


@app.callback()
def nerx(
    version: Annotated[  # eager: the callback answers and exits
        bool,
        typer.Option(
            "--version", callback=_show_version, metavar="", is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Few-shot entity extraction for large corpora: exact spans, unaltered text.

    A whole job is two lines:

      [cyan not dim]nerx fit seeds.jsonl[/]           learn from a few dozen annotated texts
      [cyan not dim]nerx extract corpus.parquet[/]    write every row again with its entities

    Each command explains itself: nerx COMMAND --help

    Exit codes: 0 done, 1 a fault of nerx, 2 bad usage or input, 3 more rows
    failed than allowed, 75 the output is in use, 130/143 stopped: run again.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line: `arguments`, or those of the process. Ends it with a code of :mod:`nerx.engine.errors`."""
    # Read by Hugging Face's libraries when they load: their bars and advice would break into ours.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not sys.warnoptions:
        # Advice of these libraries to their callers is for us, not for those who run nerx.
        warnings.filterwarnings("ignore", module=r"(transformers|peft|torch)(\.|$)")
    exit_on_signals()
    try:
        app(arguments, prog_name="nerx")
    except NerxError as error:
        console.print_error(str(error))
        sys.exit(error.exit_code)
    except Exception as error:
        traceback.print_exc()
        console.print_error(
            f"this is a fault in nerx {__version__} ({type(error).__name__}); please report the lines above"
        )
        sys.exit(1)
    sys.exit(0)
