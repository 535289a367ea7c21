"""Options that describe the training hardware, passed to a command as one object."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from scalax.hardware.names import PRECISIONS

if TYPE_CHECKING:
    from scalax.budget.hardware import TrainingHardware

chips_file_option = click.option(
    "--chips-file",
    metavar="FILE.toml",
    help="Your chips and prices; they override scalax's. Also read from SCALAX_CHIPS.",
)
precision_option = click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="bf16",
    show_default=True,
    help="Precision of matrix products.",
)


def hardware_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--chips`` and its settings, passed as ``hardware``; None without ``--chips``."""

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
        hardware = None
        if chips is not None:
            hardware = _hardware(chips, family, seq_len, precision, lost, chips_file)
        elif lost is not None:
            raise click.UsageError("--lost needs --chips, such as --chips v5e-256")
        return command(*args, hardware=hardware, **settings)

    options = [
        click.option(
            "--chips",
            metavar="SLICE",
            help="Chips that train, such as v5e-256, 2xv6e-256 or h100-64.",
        ),
        click.option(
            "--family",
            default="transformer",
            show_default=True,
            metavar="NAME",
            help="Model family trained on --chips.",
        ),
        click.option(
            "--seq-len",
            type=click.IntRange(1),
            default=2048,
            show_default=True,
            metavar="TOKENS",
            help="Tokens in a sequence.",
        ),
        precision_option,
        click.option(
            "--lost",
            type=float,
            metavar="SHARE",
            help="Share of wall time lost to failures and restarts.  [default: 0.05]",
        ),
        chips_file_option,
    ]
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def _hardware(
    chips: str,
    family: str,
    seq_len: int,
    precision: str,
    lost: float | None,
    chips_file: str | None,
) -> TrainingHardware:
    from scalax.budget.hardware import LOST, TrainingHardware

    share = LOST if lost is None else lost
    return TrainingHardware(chips, family, seq_len, precision, share, chips_file)
