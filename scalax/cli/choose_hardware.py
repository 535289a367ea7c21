"""The options that say on which hardware a model is trained, given to a command as one record."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from scalax.hardware.names import PRECISIONS

if TYPE_CHECKING:
    from scalax.budget.hardware import Run

chips_file_option = click.option(
    "--chips-file",
    metavar="FILE.toml",
    help="Your own chips and prices, over scalax's; also read from SCALAX_CHIPS.",
)
precision_option = click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="bf16",
    show_default=True,
    help="Precision of matrix products.",
)


def hardware_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--chips`` and what goes with it; the command gets a ``run``, or None without chips."""

    @functools.wraps(command)
    def wrapped(
        *args: Any,
        chips: str | None,
        family: str,
        seq_len: int,
        precision: str,
        lost: float | None,
        chips_file: str | None,
        **settings: Any,
    ) -> Any:
        run = None
        if chips is not None:
            run = _run(chips, family, seq_len, precision, lost, chips_file)
        elif lost is not None:
            raise click.UsageError("--lost needs --chips, such as --chips v5e-256")
        return command(*args, run=run, **settings)

    options = [
        click.option("--chips", metavar="SLICE", help="Such as v5e-256, 2xv6e-256 or h100-64."),
        click.option("--family", default="transformer", show_default=True, help="Model family."),
        click.option("--seq-len", type=click.IntRange(1), default=2048, show_default=True),
        precision_option,
        click.option(
            "--lost",
            type=float,
            metavar="SHARE",
            help="Share of wall time lost to failures and restarts; 0.05 by default.",
        ),
        chips_file_option,
    ]
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def _run(
    chips: str,
    family: str,
    seq_len: int,
    precision: str,
    lost: float | None,
    chips_file: str | None,
) -> Run:
    from scalax.budget.hardware import LOST, Run

    return Run(chips, family, seq_len, precision, LOST if lost is None else lost, chips_file)
