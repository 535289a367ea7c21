"""The `scalax` command: its subcommands, and the options and output that they share."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

from scalax import __version__
from scalax.errors import ScalaxError

# In the order of a study: import path and summary (at most 60 characters) of each command.
_COMMANDS = {
    "run": ("scalax.cli.run:run", "Train a sweep, fit it and test its forecast."),
    "fit": ("scalax.cli.fit:fit", "Fit a law to a table of runs, or to a sweep's folder."),
    "compare": (
        "scalax.cli.compare:compare",
        "Rank laws by forecasts of hidden larger runs.",
    ),
    "predict": (
        "scalax.cli.predict:predict",
        "Forecast the loss at one or many points.",
    ),
    "allocate": (
        "scalax.cli.allocate:allocate",
        "Split a budget between params and tokens.",
    ),
    "frontier": ("scalax.cli.frontier:frontier", "Show the best split over a range of budgets."),
    "gain": ("scalax.cli.gain:gain", "Compute the multiplier of recipe B over recipe A."),
    "simulate": ("scalax.cli.simulate:simulate", "Simulate a sweep, or a step on other hardware."),
    "plan": ("scalax.cli.plan:plan", "Choose pilot runs that sharpen a forecast."),
    "laws": ("scalax.cli.laws:laws", "List the laws, or show one."),
    "plugins": ("scalax.cli.plugins:plugins", "List, check or create plugins."),
}


class LazyGroup(click.Group):
    """A group that imports a command only when it is named or listed.

    Args:
        targets: ``module:attribute`` by command name, in the order of the listing.
        summaries: Summaries by command name; by default each command's own.
        **settings: Settings of `click.Group`.
    """

    def __init__(
        self,
        *,
        targets: Mapping[str, str],
        summaries: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.targets = targets
        self.summaries = summaries

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands; imports none of them if the summaries are given."""
        if self.summaries is None:
            super().format_commands(ctx, formatter)
            return
        with formatter.section("Commands"):
            formatter.write_dl(list(self.summaries.items()))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names of the commands, in their order."""
        return list(self.targets)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Imports and returns a command."""
        target = self.targets.get(name)
        if target is None:
            return None
        module, _, attribute = target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggests the nearest name for an unknown command."""
        from scalax.errors import suggest

        if args and args[0] not in self.targets and not args[0].startswith("-"):
            raise click.UsageError(f"no command {args[0]!r}: {suggest(args[0], self.targets)}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    targets={name: target for name, (target, _) in _COMMANDS.items()},
    summaries={name: summary for name, (_, summary) in _COMMANDS.items()},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  scalax allocate --law hoffmann2022 --flops 1e24
  scalax run experiments/quickstart.toml
  scalax fit runs.csv --out fit.json""",
)
@click.version_option(__version__, prog_name="scalax")
def cli() -> None:
    """Train sweeps, fit scaling laws, and split compute budgets."""


def _load_plugins(_ctx: click.Context, _param: click.Parameter, value: Iterable[str]) -> None:
    from scalax.registry import load_file

    for path in value:
        load_file(path)


plugin_option = click.option(
    "--plugin",
    multiple=True,
    metavar="FILE.py",
    expose_value=False,
    is_eager=True,
    callback=_load_plugins,
    help="Python file that registers laws, models or datasets; repeatable.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON to standard output.")


def columns_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--columns OURS=THEIRS,...``, passed to the command as a dictionary."""
    return click.option(
        "--columns",
        default="",
        metavar="OURS=THEIRS,...",
        callback=lambda _ctx, _param, value: parse_columns(value),
        help='Our column names and yours, such as "params=Model Size".',
    )(command)


def parse_columns(text: str) -> dict[str, str]:
    """Returns the names in ``OURS=THEIRS,...`` as a dictionary.

    Raises:
        ScalaxError: A part does not have this form.
    """
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    for ours, equals, theirs in pairs:
        if not (equals and ours.strip() and theirs.strip()):
            raise ScalaxError(
                f"expected OURS=THEIRS, got {ours + equals + theirs!r}",
                where="--columns",
                fix='write --columns "params=Model Size,loss=Loss"',
            )
    return {ours.strip(): theirs.strip() for ours, _, theirs in pairs}


def say(text: str) -> None:
    """Prints a message to standard error."""
    click.echo(text, err=True)


def print_json(value: Any) -> None:
    """Prints one JSON value to standard output."""
    from scalax.files import to_json

    click.echo(to_json(value))


def warn(notes: Iterable[str]) -> None:
    """Prints notes to standard error."""
    for note in notes:
        say(f"note: {note}")


def table(headers: list[str], rows: Iterable[Iterable[str]]) -> None:
    """Prints an aligned table to standard output."""
    lines = [headers, *map(list, rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(headers))]
    for line in lines:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo(text.rstrip())


def is_terminal() -> bool:
    """Returns whether standard error is a terminal, where progress bars can be drawn."""
    return sys.stderr.isatty()
