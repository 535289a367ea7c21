"""Generates synthetic sweeps for the development of forecasts, without real data.

Each seed gives one sweep: a form of the loss, which may be none of scalax's laws; a design
(isoFLOP curves or a grid); noise; and practical faults: badly tuned runs, a drift with compute, and
runs far from the best tokens per parameter.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scalax.fit.budgets import budget_of
from scalax.laws.base import ComputeRule
from scalax.runs.table import Runs
from scalax.simulate.designs import isoflops
from scalax.simulate.troubles import Drift, Troubles, add_troubles

Truth = Callable[[np.ndarray, np.ndarray], np.ndarray]
_EMBEDDING = 32_000 * (64 / 12) ** (1 / 3)
"""Embedding parameters divided by the cube root of the others.

Assumes a vocabulary of 32,000, 12 width^2 parameters a block, and one block for each 64 of width.
"""
KINDS = ("chinchilla", "joint", "kaplan", "broken", "embedding")


def synthetic_sweep(seed: int) -> tuple[Runs, str]:
    """Returns the runs of a sweep and a short description."""
    rng = np.random.default_rng(seed)
    kind = str(rng.choice(KINDS, p=[0.3, 0.25, 0.15, 0.15, 0.15]))
    size = 10 ** rng.uniform(7, 8.5)
    truth = make_truth(kind, size, rng)
    isoflop = bool(rng.random() < 0.7)
    params, tokens = _isoflops(truth, size, rng) if isoflop else _grid(size, rng)
    flops = 6 * params * tokens
    drift = str(rng.choice(["none", "small", "tuning", "late"], p=[0.45, 0.2, 0.2, 0.15]))
    loss = truth(params, tokens) * _drifted(drift, params, tokens, flops, rng)
    noise = 10 ** rng.uniform(-3.3, -2.0)
    groups = budget_of(flops) if rng.random() < 0.5 else np.arange(len(flops))
    troubles = Troubles(noise=noise, mistuned=0.05, outliers=0.01)
    loss = np.exp(add_troubles(np.log(loss), groups, troubles, rng))
    name = f"{seed}: {kind}, {'isoflops' if isoflop else 'grid'}, drift {drift}, noise {noise:.2%}"
    columns = {"params": params, "tokens": tokens, "flops": flops, "loss": loss}
    return Runs.from_columns(columns, source=name), f"{name}, {len(flops)} rows"


def make_truth(kind: str, size: float, rng: np.random.Generator) -> Truth:
    """Returns a loss of one of `KINDS`, scaled around a size and 20 tokens per parameter."""
    floor, alpha, beta = rng.uniform(0.8, 2.2), rng.uniform(0.22, 0.55), rng.uniform(0.22, 0.5)
    a = rng.uniform(0.3, 1.2)
    b = a * np.exp(rng.normal(0, 0.4))
    gamma, bend = rng.uniform(0.5, 1.4), rng.uniform(0.3, 0.8)
    slow_n, slow_d = rng.uniform(0.05, 0.1), rng.uniform(0.07, 0.13)

    def loss(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        n, d = params / size, tokens / (20 * size)
        if kind == "joint":
            inner = a ** (1 / gamma) * n ** (-0.9 * alpha / gamma)
            return floor + (inner + b ** (1 / gamma) * d ** (-0.9 * beta / gamma)) ** gamma
        if kind == "kaplan":
            return (floor + a) * (n ** (-slow_n / slow_d) + 0.7 / d) ** slow_d
        if kind == "broken":
            by_n = 0.5 * n**-alpha + 0.5 * n ** (-alpha * bend)
            return floor + a * by_n + b * (0.5 * d**-beta + 0.5 * d ** (-beta / 2))
        if kind == "embedding":  # the reported N excludes embeddings, which affect the loss
            n = n + _EMBEDDING * params ** (1 / 3) / size
        return floor + a * n**-alpha + b * d**-beta

    return loss


def _isoflops(truth: Truth, size: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    budgets, step = int(rng.integers(4, 12)), 10 ** rng.uniform(0.3, 0.75)
    first = 120 * size**2 * 10 ** rng.uniform(-3, -1)
    points, span = int(rng.integers(4, 15)), 10 ** rng.uniform(0.6, 1.5)
    off, moving = rng.normal(0, 0.4), rng.normal(0, 0.15)
    params, tokens = [], []
    for k in range(budgets):
        budget = first * step**k
        tried = np.geomspace(1e5, 1e13, 400)
        best = tried[np.argmin(truth(tried, budget / 6 / tried))]
        count = max(3, points + int(rng.integers(-2, 3)))
        centre = best * np.exp(off + moving * (k - budgets / 2))
        n, d = isoflops(np.array([budget]), np.array([centre]), count, span, ComputeRule())
        params.append(n)
        tokens.append(d)
    return np.concatenate(params), np.concatenate(tokens)


def _grid(size: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    sizes, counts = int(rng.integers(4, 8)), int(rng.integers(3, 8))
    n = size * 10 ** (rng.uniform(-1.5, -0.5) + np.linspace(0, rng.uniform(1.2, 2.5), sizes))
    if rng.random() < 0.5:
        low = rng.uniform(-1, 0)
        d = 20 * size * 10 ** (low + np.linspace(0, rng.uniform(1, 2), counts))
        params, tokens = np.meshgrid(n, d)
    else:
        params, ratio = np.meshgrid(n, 20 * 2.0 ** np.linspace(-1, rng.uniform(1, 4), counts))
        tokens = params * ratio
    return params.ravel(), tokens.ravel()


def _drifted(
    drift: str,
    params: np.ndarray,
    tokens: np.ndarray,
    flops: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Returns a factor on the loss that no law form describes."""
    distance = np.log(flops / flops.min())
    factor = np.ones(len(flops))
    if drift == "small":
        factor += rng.normal(0, 0.03) * np.exp(-distance / rng.uniform(1, 3))
    elif drift == "tuning":
        position = np.log(params / params.min()) / np.log(params.max() / params.min())
        factor += rng.uniform(0, 0.01) * (position - 0.4) ** 2 * rng.choice([1, 3])
    elif drift == "late":
        factor *= np.exp(Drift.draw(0.003, float(flops.min()), rng)(flops))
    if rng.random() < 0.3:
        ratio = np.log(tokens / params)
        factor += rng.uniform(0, 0.003) * (ratio - np.median(ratio)) ** 2
    return factor
