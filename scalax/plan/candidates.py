"""Lists the runs that a plan can choose from, with their costs.

Costs are the family's FLOP counts, with a shared trunk counted once, as in `scalax.sweep.expand`.
This module doesn't rank the runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalax.errors import ScalaxError
from scalax.models.base import ModelFamily
from scalax.shapes.base import DataSpec

_STEP = 2.0
"""Ratio between successive sizes, and between successive token counts."""
_SMALLER, _LARGER = 7, 3
"""Number of sizes below and above the best size of the largest affordable run."""
_FARTHEST = 12.0
"""Range of the compute of candidates below the largest, in e-folds; smaller runs inform little."""
_OFF_RATIO = 6.0
"""Largest deviation of log tokens per parameter from the best: published sweeps go no further."""
_LEAST_STEPS = 100
"""Fewest training steps of a run."""
_TRUNK_SPAN = 64.0
"""Largest ratio of tokens between branches of a trunk, which share batch and learning rate."""


@dataclass(frozen=True)
class Candidates:
    """Runs to choose from, ordered by size and then by tokens.

    Attributes:
        params: Target sizes, [runs].
        tokens: Target tokens, [runs].
        per_token: Training FLOPs per token, [runs].
        decay: Share of a branch's tokens that is not in the trunk; 1 where runs share no trunk.
    """

    params: np.ndarray
    tokens: np.ndarray
    per_token: np.ndarray
    decay: float

    def __len__(self) -> int:
        return len(self.params)

    @property
    def flops(self) -> np.ndarray:
        """FLOPs of each run when trained alone, [runs]."""
        return self.per_token * self.tokens

    def cost(self, chosen: Sequence[int]) -> float:
        """Returns the total FLOPs of runs; of one size, only the longest counts in full."""
        rows = np.asarray(chosen, int)
        total = 0.0
        for params in np.unique(self.params[rows]):
            flops = np.sort(self.flops[rows][self.params[rows] == params])
            total += float(flops[-1] + self.decay * flops[:-1].sum())
        return total

    def added(self, chosen: Sequence[int]) -> np.ndarray:
        """Returns the FLOPs that each run would add, [runs]; inf where it fits in no trunk."""
        rows = np.asarray(chosen, int)
        longest, shortest = np.zeros(len(self)), np.full(len(self), np.inf)
        for k in rows.tolist():
            same = self.params == self.params[k]
            longest[same] = np.maximum(longest[same], self.tokens[k])
            shortest[same] = np.minimum(shortest[same], self.tokens[k])
        beyond = self.tokens - (1 - self.decay) * longest
        tokens = np.where(self.tokens > longest, beyond, self.decay * self.tokens)
        too_far = (self.tokens > _TRUNK_SPAN * shortest) | (_TRUNK_SPAN * self.tokens < longest)
        added = np.where(too_far, np.inf, self.per_token * tokens)
        added[rows] = np.inf
        return added


def candidates(
    family: ModelFamily,
    options: dict[str, Any],
    data: DataSpec,
    *,
    most_flops: float,
    best_size: float,
    sizes: Iterable[float] | None = None,
    decay: float,
) -> Candidates:
    """Returns the runs to choose from.

    Args:
        family: Model family, which gives shapes and their FLOPs.
        options: The family's keys of ``[model]``.
        data: Data that the model reads.
        most_flops: Most FLOPs of a single run.
        best_size: Estimated best size of a run of ``most_flops``, in FLOPs per token.
        sizes: Sizes to consider, in params; by default a geometric sequence around the best.
        decay: As in `Candidates`.

    Raises:
        ScalaxError: One of ``sizes`` has no shape, or no run is affordable.
    """
    given = sizes is not None
    ladder = _STEP ** np.arange(-_SMALLER, _LARGER + 1.0)
    targets = list(sizes) if sizes is not None else [_round(best_size / 6 * s) for s in ladder]
    rows: list[tuple[float, float, float]] = []
    seen: set[Any] = set()
    least = math.inf
    for params in sorted(set(targets)):
        try:
            shape = family.shape(params, options, data)
        except ScalaxError:
            if given:
                raise
            continue  # too small for the vocabulary, or larger than any shape
        if shape in seen:
            continue
        seen.add(shape)
        per_token = family.flops_per_unit(shape)
        for tokens in _token_counts(most_flops / per_token):
            batch = family.recipe(shape, tokens, data).batch * data.units_per_example
            if tokens < _LEAST_STEPS * batch:
                break
            least = min(least, tokens * per_token)
            off = math.log(tokens / per_token) - math.log(most_flops / best_size**2)
            if given or abs(off) <= _OFF_RATIO:
                rows.append((params, tokens, per_token))
    if not rows:
        raise ScalaxError(
            f"no run of {_LEAST_STEPS} steps or more costs {most_flops:.3g} FLOPs or less",
            where="--budget",
            fix="give a larger --budget, or smaller --sizes",
        )
    params_, tokens_, per_token_ = np.asarray(rows).T
    return Candidates(params_, tokens_, per_token_, decay)


def _token_counts(most: float) -> list[float]:
    """Returns token counts from the most affordable down, in steps of `_STEP`."""
    count = int(_FARTHEST / math.log(_STEP))
    return [_round(most / _STEP**k, up=False) for k in range(count)]


def _round(value: float, up: bool = True) -> float:
    """Rounds to three digits, to keep the experiment file readable."""
    digit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{(round if up else math.floor)(value / digit) * digit:.6g}")
