"""The whole loss curve of a run as a function of its learning rates.

The law reads two areas under the schedule. `schedule_areas` computes them from the learning rate
of each step, and `curve_columns` from the metrics that a run logged. Nothing here is fitted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from scalax.array_types import Float
from scalax.errors import ScalaxError
from scalax.laws.base import Array, Coefficient, Law

DECAY = 0.999
"""Factor on the annealing momentum at each step, as in the paper's fits."""


class LearningCurve(Law):
    """L(s) = E + A S1^-alpha - C S2, at every step s of every schedule.

    Tissue et al. 2024 (arXiv:2408.11029), equation 1. S1 (column ``lr_area``) is the area under
    the learning rate so far, and S2 (column ``lr_annealing``) the annealing area: see
    `schedule_areas`. The law is valid for one model size, batch size and data set. It is known to
    fail for unusual schedules, such as steps at a rate of zero.

    Example:
        >>> import numpy as np
        >>> c = {"E": 2.5, "A": 0.5, "C": 0.1, "alpha": 0.5}
        >>> LearningCurve().loss(np, c, {"lr_area": 4.0, "lr_annealing": 0.5})
        np.float64(2.7)
    """

    name: ClassVar[str] = "learning-curve"
    title: ClassVar[str] = "every step of a run from its learning-rate schedule"
    equation: ClassVar[str] = "L = E + A S1^-alpha - C S2"
    source: ClassVar[str] = "Tissue et al. 2024, arXiv:2408.11029, equation 1"
    columns: ClassVar[tuple[str, ...]] = ("lr_area", "lr_annealing")
    coefficients: ClassVar[tuple[Coefficient, ...]] = (
        Coefficient("E", "linear", 1e-9, 1e3, meaning="irreducible loss without annealing"),
        Coefficient("A", "linear", 1e-9, 1e9, meaning="size of the power law in the area"),
        Coefficient("C", "linear", 1e-9, 1e9, meaning="loss removed per unit of annealing"),
        Coefficient(
            "alpha", "exponent", 1e-3, 3.0, tuple(0.05 * k for k in range(1, 41)), "its exponent"
        ),
    )
    typical: ClassVar[Mapping[str, tuple[float, float]]] = {
        "E": (1.0, 2.0),
        "A": (0.3, 2.0),
        "C": (0.05, 0.5),
        "alpha": (0.2, 0.8),
        "lr_area": (0.1, 30.0),
        "lr_annealing": (0.001, 0.5),
    }

    def loss(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> Array:
        """The loss; see `Law.loss`."""
        one, by_area, annealed = self.basis(xp, c, x)
        return c["E"] * one + c["A"] * by_area + c["C"] * annealed

    def basis(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> list[Array]:
        """The factors of E, A and C; see `Law.basis`."""
        return [1.0, xp.exp(-c["alpha"] * xp.log(x["lr_area"])), -x["lr_annealing"]]


def schedule_areas(
    rates: Sequence[float] | np.ndarray, decay: float = DECAY
) -> tuple[Float[np.ndarray, " steps"], Float[np.ndarray, " steps"]]:
    """Returns the two areas under a schedule after each step.

    S1(s) is the sum of the rates to step s. S2(s) sums a momentum that grows with each fall of the
    rate and decays by ``decay`` per step: m(i) = decay m(i-1) + rate(i-1) - rate(i), so a fall
    takes effect over the steps that follow it. Start after warm-up.

    Args:
        rates: The learning rate of each step, [steps], not negative.
        decay: Factor on the momentum at each step, at least 0 and below 1.

    Returns:
        S1 and S2, [steps] each.

    Raises:
        ScalaxError: A rate is negative or not finite, the first rate is zero, or ``decay`` is not
            in [0, 1).

    Example:
        >>> s1, s2 = schedule_areas([1.0, 1.0, 0.5, 0.5], decay=0.5)
        >>> s1.tolist(), s2.tolist()
        ([1.0, 2.0, 2.5, 3.0], [0.0, 0.0, 0.5, 0.75])
    """
    rate = np.asarray(rates, dtype=float)
    if rate.ndim != 1 or not rate.size or not np.all(np.isfinite(rate) & (rate >= 0)):
        raise ScalaxError(
            "expected one finite rate of 0 or more per step",
            where="learning_rate",
            fix="give the rates as a list of numbers",
        )
    if not rate[0] > 0:
        raise ScalaxError(
            "expected a first rate above 0", where="learning_rate", fix="begin after warm-up"
        )
    if not 0 <= decay < 1:
        raise ScalaxError(
            f"expected at least 0 and below 1, got {decay:g}", where="decay", fix=f"try {DECAY:g}"
        )
    falls = -np.diff(rate, prepend=rate[0])
    momentum, current = np.empty_like(rate), 0.0
    for step, fall in enumerate(falls.tolist()):
        current = decay * current + fall
        momentum[step] = current
    return np.cumsum(rate), np.cumsum(momentum)


def curve_columns(
    path: str | Path,
    *,
    loss: str = "loss",
    learning_rate: str = "learning_rate",
    warmup_steps: int = 0,
    decay: float = DECAY,
) -> dict[str, Float[np.ndarray, " rows"]]:
    """Reads the columns of the law from a run's metrics.jsonl, one row for each logged loss.

    The learning rate between logged steps is interpolated linearly.

    Args:
        path: A file with one JSON object per line, with ``step`` and some of the keys below.
        loss: Key of the loss.
        learning_rate: Key of the learning rate.
        warmup_steps: Number of steps to skip at the start.
        decay: See `schedule_areas`.

    Returns:
        The columns ``step``, ``loss``, ``lr_area`` and ``lr_annealing``, [rows] each.

    Raises:
        ScalaxError: The file is missing or not JSON lines, or no row has the loss or the rate.
    """
    rows = _json_lines(Path(path))
    logged: dict[str, dict[int, float]] = {}
    for key in (learning_rate, loss):
        logged[key] = {
            int(row["step"]): float(row[key])
            for row in rows
            if _number(row.get("step")) and _number(row.get(key)) and row["step"] > warmup_steps
        }
        if not logged[key]:
            raise ScalaxError(
                f"no step past {warmup_steps} with a number for {key!r}",
                where=str(path),
                fix=f"its keys are {', '.join(sorted({k for row in rows for k in row}))}",
            )
    known = sorted(logged[learning_rate])
    steps = np.arange(warmup_steps + 1, max(max(known), max(logged[loss])) + 1)
    rates = np.interp(steps, known, [logged[learning_rate][step] for step in known])
    area, annealing = schedule_areas(rates, decay)
    loss_steps = np.asarray(sorted(logged[loss]))
    row = loss_steps - warmup_steps - 1
    return {
        "step": loss_steps.astype(float),
        "loss": np.asarray([logged[loss][step] for step in loss_steps.tolist()]),
        "lr_area": area[row],
        "lr_annealing": annealing[row],
    }


def _json_lines(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise ScalaxError(f"cannot be read: {error}", where=str(path)) from None
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise ScalaxError("expected a JSON object", where=f"{path}: line {number}")
        rows.append(row)
    return rows


def _number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)
