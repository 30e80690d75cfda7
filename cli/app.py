"""The command `nerx`: its commands, and the edge where errors become one line and an exit code."""

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from ..engine.errors import NerxError
from ..engine.version import __version__
from . import base, bench, console, diff, eval, extract, fit, inspect, options, prime, run, view  # noqa: A004  # called what users type
from .interrupt import exit_on_signals

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,  # its traceback shows locals, and locals hold corpus text
    context_settings={"help_option_names": ["-h", "--help"]},
)
_WORK, _LOOK = "Work", "Look"
app.command("fit", rich_help_panel=_WORK, cls=options.Command)(fit.fit)
app.command("extract", rich_help_panel=_WORK, cls=run.EnvironmentCommand)(extract.extract)
app.command("run", rich_help_panel=_WORK, cls=run.JobCommand)(run.run)
app.add_typer(base.base, name="base", rich_help_panel=_WORK)
app.command("prime", rich_help_panel=_WORK, cls=options.Command)(prime.prime)
app.command("eval", rich_help_panel=_LOOK, cls=options.Command)(eval.evaluate)
app.command("bench", rich_help_panel=_LOOK, cls=options.Command)(bench.bench)
app.command("view", rich_help_panel=_LOOK, cls=options.Command)(view.view)
app.command("diff", rich_help_panel=_LOOK, cls=options.Command)(diff.diff)
app.command("inspect", rich_help_panel=_LOOK, cls=options.Command)(inspect.inspect)


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
      [cyan not dim]nerx extract corpus.parquet[/]    copy every row and add its entities

    To learn more about a command: nerx COMMAND --help

    Exit codes:

      0          done
      1          a fault in nerx
      2          wrong usage or wrong input
      3          too many rows failed, or the rate of a label moved too much
      75         another run is writing this output
      130, 143   a signal stopped nerx: run the same command again
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line with `arguments`, or with those of the process.

    Ends the process with an exit code of :mod:`nerx.engine.errors`.
    """
    # Read by Hugging Face's libraries when they load: their bars and advice would break into ours.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not sys.warnoptions:
        # These libraries advise their callers, which is us and not the people who run nerx.
        warnings.filterwarnings("ignore", module=r"(transformers|peft|torch)(\.|$)")
    console.log_as(console.format_in(sys.argv[1:] if arguments is None else arguments, os.environ))
    console.accept_all_texts()
    exit_on_signals()
    try:
        # In its own mode typer draws wrong usage as a panel and exits; for machines it becomes an event as well.
        code = app(arguments, prog_name="nerx", standalone_mode=not console.logs_json())
    except typer.TyperException as error:
        console.print_error(error.format_message(), exit_code=error.exit_code, kind="UsageError")
        sys.exit(error.exit_code)
    except NerxError as error:
        console.print_error(str(error), exit_code=error.exit_code, kind=type(error).__name__)
        sys.exit(error.exit_code)
    except Exception as error:
        kind, quoting = type(error).__name__, bool(os.environ.get("NERX_DEBUG"))
        message = f"this is a fault in nerx {__version__} ({kind}); please report the lines above"
        advice = "" if quoting else "; NERX_DEBUG=1 shows what was said, which may quote your texts"
        console.print_fault(error, message + advice, quoting=quoting)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
