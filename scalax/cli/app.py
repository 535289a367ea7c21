"""The `scalax` group: which commands there are, and the options they share."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

from scalax import __version__
from scalax.errors import ScalaxError

# In the order of a study; each is imported only when it is named or listed.
_COMMANDS = {
    "run": "scalax.cli.run:run",
    "fit": "scalax.cli.fit:fit",
    "compare": "scalax.cli.compare:compare",
    "predict": "scalax.cli.predict:predict",
    "allocate": "scalax.cli.allocate:allocate",
    "frontier": "scalax.cli.frontier:frontier",
    "gain": "scalax.cli.gain:gain",
    "simulate": "scalax.cli.simulate:simulate",
    "plan": "scalax.cli.plan:plan",
    "laws": "scalax.cli.laws:laws",
    "plugins": "scalax.cli.plugins:plugins",
}


class LazyGroup(click.Group):
    """A group whose commands are each imported only when named or listed.

    Args:
        targets: ``module:attribute`` of each command by name, in the order of its listing.
        **settings: Those of `click.Group`.
    """

    def __init__(self, *, targets: Mapping[str, str], **settings: Any) -> None:
        super().__init__(**settings)
        self.targets = targets

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order given."""
        return list(self.targets)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Imports a command."""
        target = self.targets.get(name)
        if target is None:
            return None
        module, _, attribute = target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggests the nearest name for one that is unknown."""
        from scalax.errors import suggest

        if args and args[0] not in self.targets and not args[0].startswith("-"):
            raise click.UsageError(f"no command {args[0]!r}: {suggest(args[0], self.targets)}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    targets=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: scalax allocate --law hoffmann2022 --flops 1e24, "
    "or: scalax run experiments/quickstart.toml",
)
@click.version_option(__version__, prog_name="scalax")
def cli() -> None:
    """Scaling laws for machine learning: train sweeps, fit laws, split compute budgets."""


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
    help="A local file that registers laws, models or datasets; may be given again.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON value to standard output."
)


def columns_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--columns ours=theirs,...``, given to the command as a dictionary."""
    return click.option(
        "--columns",
        default="",
        metavar="OURS=THEIRS,...",
        callback=lambda ctx, param, value: _columns(value),
        help='Their names for our columns, such as "params=Model Size,flops=Training FLOP".',
    )(command)


def _columns(text: str) -> dict[str, str]:
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
    """Words for a person, on standard error."""
    click.echo(text, err=True)


def print_json(value: Any) -> None:
    """One JSON value on standard output."""
    from scalax.files import to_json

    click.echo(to_json(value))


def warn(notes: Iterable[str]) -> None:
    """Notes of a fit or an allocation, on standard error."""
    for note in notes:
        say(f"note: {note}")


def table(headers: list[str], rows: Iterable[Iterable[str]]) -> None:
    """A plain aligned table on standard output."""
    lines = [headers, *map(list, rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(headers))]
    for line in lines:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo(text.rstrip())


def is_terminal() -> bool:
    """Whether standard error is a terminal: bars are drawn only there."""
    return sys.stderr.isatty()
