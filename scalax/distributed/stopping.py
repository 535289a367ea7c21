"""The two ways a run ends before its time; no jax, so that a command can name them."""

from __future__ import annotations

# Outcomes, not errors: their names say so.


class Stopped(Exception):  # noqa: N818
    """The run was asked to stop, and has saved where it was."""


class Diverged(Exception):  # noqa: N818
    """The loss is no number, or worse than twice that of a uniform guess."""
