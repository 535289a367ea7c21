"""Exceptions for the two ways in which a run ends early. Imports no jax."""

from __future__ import annotations

# Both are outcomes rather than errors, so their names have no "Error" suffix.


class Stopped(Exception):  # noqa: N818
    """A stop was requested, and the run has saved a checkpoint."""


class Diverged(Exception):  # noqa: N818
    """The loss is not finite, or exceeds twice the loss of a uniform guess."""
