"""Bootstrap intervals of the coefficients, all resamples at once.

Rows that share a trunk are not independent, so whole trunks are resampled. The intervals include
sampling noise but not the error of the law form.
"""

from __future__ import annotations

import numpy as np

from scalax.array_types import Float, Int
from scalax.fit.constraints import Constraints
from scalax.fit.newton import minimise
from scalax.fit.objective import Objective
from scalax.runs.table import Runs

FEWEST_CLUSTERS = 2
_FEW_CLUSTERS = 5
"""With fewer independent rows or trunks, resamples repeat each other."""
_BATCH_VALUES = 120_000  # resamples times rows: sized for a core's cache


def bootstrap(
    objective: Objective,
    theta: Float[np.ndarray, " coefficients"],
    weights: Float[np.ndarray, " rows"],
    runs: Runs,
    count: int,
    seed: int,
    constraints: Constraints,
) -> Float[np.ndarray, "count coefficients"]:
    """Returns the coefficients of fits to resampled tables.

    Args:
        objective: The objective on the whole table.
        theta: Its minimum, [coefficients]; each resample starts there.
        weights: Row weights, [rows].
        runs: The table, for its ``trunk`` column.
        count: Number of resamples.
        seed: Seed of the draws.
        constraints: The constraints of the fit.

    Returns:
        [count, coefficients], in the order of the law's coefficients.
    """
    group = groups(runs)
    rng = np.random.default_rng(seed)
    derivatives = constraints.derivatives(objective.derivatives())
    bounds = constraints.bounds(*objective.bounds())
    start = constraints.reduce(theta[None])
    rows = len(group)
    clusters = int(group.max()) + 1
    resampled = []
    for size in _batches(count, max(1, _BATCH_VALUES // rows)):
        drawn = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=size)
        each = drawn[:, group] * weights
        solved = minimise(derivatives, np.repeat(start, size, 0), each, bounds, tolerance=1e-8)
        columns = objective.coefficients(constraints.expand(solved.theta)).values()
        resampled.append(np.stack(list(columns), axis=1))
    return np.concatenate(resampled)


def can_resample(runs: Runs) -> tuple[bool, list[str]]:
    """Returns whether there are enough independent clusters to resample, and notes on them."""
    group = groups(runs)
    sizes = np.bincount(group)
    what = f"{len(sizes)} independent rows"
    if len(sizes) < len(group):
        what = f"{np.sum(sizes > 1)} trunks"
        if alone := int(np.sum(sizes == 1)):
            what += f" and {alone} rows without a trunk"
    if len(sizes) < FEWEST_CLUSTERS:
        return False, [
            f"no bootstrap intervals: {what} cannot be resampled; give at least {_FEW_CLUSTERS} "
            "trunks, or runs without one"
        ]
    if len(sizes) < _FEW_CLUSTERS:
        return True, [f"the bootstrap resampled only {what}: its intervals are rough"]
    return True, [f"the bootstrap resampled {what}"] if len(sizes) < len(group) else []


def groups(runs: Runs) -> Int[np.ndarray, " rows"]:
    """Returns the cluster of each row, [rows]: a trunk, or a row that belongs to none."""
    names = [f"row {row}" for row in range(len(runs))]
    if "trunk" in runs:
        given = runs["trunk"].tolist()
        names = [
            own if trunk in (None, "") or trunk != trunk else f"trunk {trunk}"
            for own, trunk in zip(names, given, strict=True)
        ]
    return np.unique(names, return_inverse=True)[1]


def _batches(count: int, most: int) -> list[int]:
    whole, rest = divmod(count, most)
    return [most] * whole + ([rest] if rest else [])
