"""Finds the architecture whose parameter count is nearest to a target, for all families.

A family supplies the candidates and a function that counts parameters. No jax.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from scalax.errors import ScalaxError

TOLERANCE = 0.1
"""Maximum relative distance between a target and the size of a family's shape."""

_MAX_KNOB = 2**40
Shape = TypeVar("Shape")


def nearest_shape(
    target: float,
    candidates: Iterable[Shape] | Callable[[int], Shape],
    count: Callable[[Shape], int],
    *,
    tolerance: float = TOLERANCE,
    cost: Callable[[Shape, float], Any] | None = None,
    bound: Callable[[Shape], Any] | None = None,
    what: str = "model",
    none: str = "there are no candidates",
    where: str = "model",
    fix: str | None = None,
) -> Shape:
    """Finds the shape of a target size.

    Args:
        target: Target number of parameters.
        candidates: The shapes to choose from; or a knob, a function from a positive integer to a
            shape whose count never falls as the integer grows. A knob is bisected.
        count: Counts the parameters of a shape.
        tolerance: Maximum ``abs(count / target - 1)``.
        cost: Function of a shape and its distance ``abs(log(count / target))`` to minimise among
            the shapes within the tolerance. By default the distance.
        bound: A lower bound of the cost of a candidate and of all that follow it. The search stops
            at the first candidate whose bound exceeds the lowest cost so far.
        what: Description of the architecture, for the error.
        none: Reason for an empty list of candidates, for the error.
        where: Name of the user's setting, for the error.
        fix: Advice in the error; by default, to ask for the nearest size.

    Returns:
        The first shape with the lowest cost.

    Raises:
        ScalaxError: No shape is within the tolerance; the message has the nearest size.

    Example:
        >>> nearest_shape(1000, lambda width: width, lambda width: width**2)
        32
        >>> nearest_shape(1000, [20, 31, 32, 33], lambda width: width**2, cost=lambda w, _: w)
        31
    """
    if callable(candidates):
        candidates = _bracket(target, candidates, count)
    best: tuple[Any, Shape] | None = None
    nearest: tuple[float, int] | None = None
    for shape in candidates:
        if bound is not None and best is not None and bound(shape) > best[0]:
            break
        params = count(shape)
        distance = abs(math.log(params / target))
        if nearest is None or distance < nearest[0]:
            nearest = (distance, params)
        if abs(params / target - 1) > tolerance:
            continue
        value = distance if cost is None else cost(shape, distance)
        if best is None or value < best[0]:
            best = (value, shape)
    if best is not None:
        return best[1]
    reason = f"the nearest has {nearest[1]:,}" if nearest else none
    raise ScalaxError(
        f"no {what} has about {target:,.0f} parameters: {reason}",
        where=where,
        fix=fix or (f"ask for {nearest[1]}" if nearest else "ask for another size"),
    )


def _bracket(
    target: float, make: Callable[[int], Shape], count: Callable[[Shape], int]
) -> list[Shape]:
    """Bisects a knob; returns the last shape below the target and the first that reaches it."""
    low, high = 0, 1
    while high < _MAX_KNOB and count(make(high)) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(make(middle)) < target else (low, middle)
    return [make(knob) for knob in (low, high) if knob > 0]
