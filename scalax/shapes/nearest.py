"""Finds the architecture whose parameter count is nearest to a target: one search for all families.

No jax. A family states which architectures there are and how to count one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from scalax.errors import ScalaxError

TOLERANCE = 0.1
"""Largest relative distance between a target and the size of the shape that a family gives."""

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
        target: Parameters wanted.
        candidates: The shapes to choose from; or a knob, a function from a positive integer to a
            shape whose count never falls as the integer grows. A knob is bisected.
        count: Counts the parameters of a shape.
        tolerance: Largest accepted ``abs(count / target - 1)``.
        cost: What to minimise among the shapes within the tolerance: a function of a shape and of
            its distance ``abs(log(count / target))``. By default the distance.
        bound: A lower bound of the cost of a candidate and of all that follow it. The search stops
            at the first candidate whose bound exceeds the lowest cost so far.
        what: The architecture in words, for the error.
        none: The reason why there may be no candidate at all, for the error.
        where: The user's setting at fault, for the error.
        fix: What to do instead; by default to ask for the nearest size.

    Returns:
        The first shape of the lowest cost.

    Raises:
        ScalaxError: No shape is within the tolerance; names the nearest size.

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
        found = count(shape)
        distance = abs(math.log(found / target))
        if nearest is None or distance < nearest[0]:
            nearest = (distance, found)
        if abs(found / target - 1) > tolerance:
            continue
        price = distance if cost is None else cost(shape, distance)
        if best is None or price < best[0]:
            best = (price, shape)
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
    """Bisects a knob: the last shape below a target and the first that reaches it."""
    low, high = 0, 1
    while high < _MAX_KNOB and count(make(high)) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(make(middle)) < target else (low, middle)
    return [make(knob) for knob in (low, high) if knob > 0]
