"""The runs that could be trained: sizes that have a shape, token counts, and what each costs.

Costs are the family's own counts, a trunk paid once: the same that `scalax.sweep.expand` makes of
the experiment. It judges nothing.
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

_STEP = 2.0  # from one size, or token count, to the next
_SMALLER, _LARGER = 7, 3
"""Sizes tried below and above the best at the largest affordable run, in steps."""
_FARTHEST = 12.0
"""Runs of a millionth of the largest one's compute tell nothing: e-folds."""
_OFF_RATIO = 6.0
"""How far log tokens a parameter may lie off the best: beyond it no law was ever tried."""
_LEAST_STEPS = 100
_TRUNK_SPAN = 64.0
"""A trunk's longest branch over its shortest: they share one batch and learning rate."""


@dataclass(frozen=True)
class Candidates:
    """Runs to choose among, by size and then by tokens.

    Attributes:
        params: Target size of each, [runs].
        tokens: Target tokens, [runs].
        per_token: Training FLOPs a token, [runs].
        decay: The part of a branch's tokens that is its own; 1 where runs share no trunk.
    """

    params: np.ndarray
    tokens: np.ndarray
    per_token: np.ndarray
    decay: float

    def __len__(self) -> int:
        return len(self.params)

    @property
    def flops(self) -> np.ndarray:
        """What each costs alone, [runs]."""
        return self.per_token * self.tokens

    def cost(self, chosen: Sequence[int]) -> float:
        """What runs cost together: the longest of a trunk whole, of the others their decay."""
        picked = np.asarray(chosen, int)
        total = 0.0
        for params in np.unique(self.params[picked]):
            each = np.sort(self.flops[picked][self.params[picked] == params])
            total += float(each[-1] + self.decay * each[:-1].sum())
        return total

    def added(self, chosen: Sequence[int]) -> np.ndarray:
        """What each run would add to the cost, [runs]; infinite where its trunk cannot reach it."""
        picked = np.asarray(chosen, int)
        longest, shortest = np.zeros(len(self)), np.full(len(self), np.inf)
        for k in picked.tolist():
            same = self.params == self.params[k]
            longest[same] = np.maximum(longest[same], self.tokens[k])
            shortest[same] = np.minimum(shortest[same], self.tokens[k])
        beyond = self.tokens - (1 - self.decay) * longest
        tokens = np.where(self.tokens > longest, beyond, self.decay * self.tokens)
        apart = (self.tokens > _TRUNK_SPAN * shortest) | (_TRUNK_SPAN * self.tokens < longest)
        found = np.where(apart, np.inf, self.per_token * tokens)
        found[picked] = np.inf
        return found


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
    """The runs to choose among.

    Args:
        family: Gives shapes and their FLOPs.
        options: Its own keys of ``[model]``.
        data: What it will read.
        most_flops: Of one run.
        best_size: FLOPs a token that a run of so many FLOPs is thought to use best.
        sizes: The only sizes to consider, in params; by default a ladder about the best.
        decay: As in `Candidates`.

    Raises:
        ScalaxError: A size asked for has no shape, or nothing is affordable.
    """
    given = sizes is not None
    ladder = _STEP ** np.arange(-_SMALLER, _LARGER + 1.0)
    tried = list(sizes) if sizes is not None else [_round(best_size / 6 * s) for s in ladder]
    rows: list[tuple[float, float, float]] = []
    seen: set[Any] = set()
    least = math.inf
    for params in sorted(set(tried)):
        try:
            shape = family.shape(params, options, data)
        except ScalaxError:
            if given:
                raise
            continue  # too small for its vocabulary, or too large for any shape known
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
            fix="give more, or other --sizes",
        )
    params_, tokens_, per_token_ = np.asarray(rows).T
    return Candidates(params_, tokens_, per_token_, decay)


def _token_counts(most: float) -> list[float]:
    """From the most that is affordable down, in steps."""
    count = int(_FARTHEST / math.log(_STEP))
    return [_round(most / _STEP**k, up=False) for k in range(count)]


def _round(value: float, up: bool = True) -> float:
    """To three digits, so that a person can read the file."""
    digit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{(round if up else math.floor)(value / digit) * digit:.6g}")
