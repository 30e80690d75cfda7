"""`nerx run`: the command `extract` with a job file, which holds what command line and environment leave out."""

from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperArgument, TyperOption
from typer.main import get_command

from ..engine.errors import InputError
from . import console
from .extract import extract
from .job import JobFile, anchored, resolved
from .options import Command

PREFIX = "NERX_"


class EnvironmentCommand(Command):
    """A command whose options can also come from the environment: NERX_MIN_SCORE for `--min-score`."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        for option in self.params:
            if isinstance(option, TyperOption) and option.envvar is None:
                option.envvar = PREFIX + option.name.upper()
                option.show_envvar = False  # help states the rule once; it would fill the page if each option said it


class JobCommand(EnvironmentCommand):
    """Takes the job file, and every parameter of `extract`."""

    def __init__(self, *arguments: Any, params: list[Any], **settings: Any) -> None:
        alone = typer.Typer(add_completion=False)
        alone.command()(extract)
        self._extract = get_command(alone)
        for param in self._extract.params:
            # Asked for below, when the file has been read.
            param.required = param.required and not isinstance(param, TyperArgument)
        super().__init__(*arguments, params=[*params, *self._extract.params], **settings)

    @property
    def metavars(self) -> dict[str, str]:
        """Name of each parameter of `extract` -> its metavar."""
        return {param.name: param.metavar or "" for param in self._extract.params}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            name = getattr(error.param, "name", "") or ""
            if isinstance(ctx.obj, JobFile) and _source(ctx, name) == "DEFAULT_MAP":
                raise InputError(
                    f"{ctx.obj.where(name)}: {name}: {error.message.removeprefix('Value error, ')}"
                ) from error
            raise

    def invoke(self, ctx: Any) -> Any:
        return ctx.invoke(self.callback, job=ctx.params["job"])

    def start(self, ctx: Any) -> Any:
        """Run `extract` with the parameters of `ctx`."""
        return ctx.invoke(self._extract.callback, **{name: ctx.params[name] for name in self.metavars})

    def show(self, ctx: Any) -> None:
        """Print the job that would run, and where each value comes from."""
        hints, metavars = get_type_hints(extract), self.metavars
        chosen = {
            name: anchored(ctx.params[name], Path.cwd(), hints[name], metavar)
            for name, metavar in metavars.items()
            if name != "dry_run"
        }
        sources = {param.name: _said(ctx, param) for param in self._extract.params if param.name in chosen}
        if chosen["json"]:
            console.print_json({"job": chosen, "sources": sources})
        else:
            print(resolved(chosen, sources))  # noqa: T201  # nothing for rich to lay out, and read by machines


def _said(ctx: Any, param: Any) -> str:
    """Where the value of a parameter comes from, in words."""
    match _source(ctx, param.name):
        case "COMMANDLINE":
            return "command line"
        case "ENVIRONMENT":
            return str(param.envvar)
        case "DEFAULT_MAP":
            return str(ctx.obj.where(param.name))
    return "default"


def _source(ctx: Any, name: str) -> str:
    found = ctx.get_parameter_source(name)
    return found.name if found else ""


def _read(context: typer.Context, job: Path) -> Path:
    """Read the file before typer looks at other parameters; its values take the place of their defaults."""
    command = context.command
    if isinstance(command, JobCommand) and not context.resilient_parsing:
        context.obj = JobFile.read(job, extract, command.metavars)
        context.default_map = dict(context.obj.values)
    return job


def run(
    context: typer.Context,
    job: Annotated[
        Path,
        typer.Argument(metavar="JOB.toml", help="Options of `nerx extract`, as TOML.", is_eager=True, callback=_read),
    ],
) -> None:
    """Run a job file: `nerx extract` with its options in a file.

    The keys of the file are the options of `nerx extract`. You can give any
    option here too. The command line wins over the environment (NERX_LIMIT for
    --limit), and the environment wins over the file. A relative path in the
    file starts at the folder of the file.

      corpus = "lake/2026-*.parquet"
      adapter = "adapters/freight"
      min_score = 0.5

    --dry-run prints the job that would run, and where each value comes from.

    [bold not dim]Examples[/]

      [cyan]nerx run job.toml[/]
      [cyan]nerx run job.toml --limit 100 --out trial.parquet[/]
      [cyan]nerx run job.toml --dry-run[/]
    """
    command: Any = context.command
    if not context.params["corpus"]:
        raise InputError(f"{job}: no corpus: name what to read in the file (corpus = [...]) or on the command line")
    if context.params["dry_run"]:
        command.show(context)
    else:
        command.start(context)
