"""The exact objective of a fit and its derivatives, for many coefficient vectors at once.

objective(theta) = sum over rows of weight * cost(log loss(theta) - log measured) + prior(theta)

(Hoffmann et al. 2022, equation 3; without a prior unless one is given.) theta holds the logarithm
of each coefficient that is a positive size and each exponent as it is. Laws that are sums of
exponentials are differentiated in closed form, others by `jets` where it knows their functions, the
rest by JAX, in float64. Rows are taken in chunks, so that memory grows with the batch alone.
Nothing here iterates.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scalax.devices import prepare
from scalax.fit.cost import Cost
from scalax.fit.hyperdual import Jet, Jets, seed
from scalax.laws.base import Array, Law

Derivatives = tuple[np.ndarray, np.ndarray, np.ndarray]
Evaluate = Callable[[np.ndarray, np.ndarray], Derivatives]

_CHUNK_VALUES = 400_000


@dataclass(frozen=True)
class Prior:
    """A Gaussian prior on theta: 0.5 * sum of precision * (theta - mean)^2, on each element.

    Attributes:
        mean: [coefficients], in theta's own units.
        precision: [coefficients]; 0 where nothing is said.
    """

    mean: np.ndarray
    precision: np.ndarray


@dataclass(frozen=True)
class Objective:
    """A law, the rows it is held against, and the cost of the distance between them.

    Attributes:
        law: The law form.
        columns: Columns by name, arrays [rows].
        log_measured: Logarithm of the measured metric, [rows].
        cost: Of a log residual.
        limits: ``{name: (least, greatest)}`` in the coefficient's own unit, where they are
            narrower than the law's.
        prior: On theta; None for none.
        gauss: Whether the Hessian is that of Gauss and Newton, on parabolas that touch the cost,
            instead of the exact one: steps on it go further along a curved valley.
    """

    law: Law
    columns: Mapping[str, np.ndarray]
    log_measured: np.ndarray
    cost: Cost = field(default_factory=Cost)
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    prior: Prior | None = None
    gauss: bool = False

    def coefficients(self, theta: np.ndarray) -> dict[str, np.ndarray]:
        """Coefficients by name, each [batch], from theta [batch, coefficients]."""
        with np.errstate(over="ignore"):  # a step too far: its loss is not finite, and it is undone
            return {
                c.name: np.exp(theta[:, k]) if c.log else theta[:, k]
                for k, c in enumerate(self.law.coefficients)
            }

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest theta, [coefficients] each."""
        pairs = []
        for c in self.law.coefficients:
            low, high = self.limits.get(c.name, (c.low, c.high))
            low, high = max(low, c.low), min(high, c.high)
            pairs.append((np.log(low), np.log(high)) if c.log else (low, high))
        least, greatest = np.asarray(pairs).T
        return least, greatest

    def rows(self, some: np.ndarray) -> Objective:
        """The same objective on the rows picked by a mask or by indices."""
        columns = {name: values[some] for name, values in self.columns.items()}
        return replace(self, columns=columns, log_measured=self.log_measured[some])

    def residuals(self, theta: np.ndarray) -> np.ndarray:
        """Log residuals [batch, rows]; not finite where the law is not."""
        c = {name: value[:, None] for name, value in self.coefficients(theta).items()}
        with np.errstate(all="ignore"):
            return np.log(self.law.loss(np, c, self.columns)) - self.log_measured

    def value(self, theta: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The objective [batch]; infinite where the law is not finite.

        Args:
            theta: [batch, coefficients].
            weights: [rows], or [batch, rows].
        """
        total = np.sum(weights * self.cost.value(self.residuals(theta)), axis=-1)
        if self.prior is not None:
            total = total + 0.5 * np.sum(
                self.prior.precision * (theta - self.prior.mean) ** 2, axis=-1
            )
        return np.where(np.isfinite(total), total, np.inf)

    def jacobian(self, theta: np.ndarray) -> np.ndarray:
        """Derivatives of log loss by theta [coefficients] at each row: [rows, coefficients]."""
        rows, size = self.log_measured.size, len(self.law.coefficients)
        found = np.zeros((rows, size))
        if _jets_suffice(self):
            for k, first in _jet_of(self, theta[None]).first.items():
                found[:, k] = np.broadcast_to(first, (1, rows))[0]
            return found
        return _jacobian_by_jax(self, theta)

    def derivatives(self) -> Evaluate:
        """A function of theta and weights (as in `value`) to value, gradient and Hessian.

        Returns:
            Arrays [batch], [batch, coefficients] and [batch, coefficients, coefficients].
        """
        terms = self.law.terms(self.columns)
        if terms is not None:
            plain = _by_terms(self, terms)
        else:
            plain = _by_jets(self) if _jets_suffice(self) else _by_jax(self)
        prior = self.prior
        if prior is None:
            return plain

        def evaluate(theta: np.ndarray, weights: np.ndarray) -> Derivatives:
            value, gradient, hessian = plain(theta, weights)
            away = theta - prior.mean
            value = value + 0.5 * np.sum(prior.precision * away**2, axis=-1)
            return value, gradient + prior.precision * away, hessian + np.diag(prior.precision)

        return evaluate


def _by_terms(objective: Objective, terms: list[dict[str, Array]]) -> Evaluate:
    """Chunks of rows, each through `_closed`."""
    index = {c.name: k for k, c in enumerate(objective.law.coefficients)}
    rows = objective.log_measured.size
    named = [{index[name]: factor for name, factor in term.items()} for term in terms]

    def evaluate(theta: np.ndarray, weights: np.ndarray) -> Derivatives:
        chunk = max(1, _CHUNK_VALUES // len(theta))
        if rows <= chunk:
            return _closed(objective, objective.log_measured, named, theta, weights)
        parts = []
        for start in range(0, rows, chunk):
            at = slice(start, start + chunk)
            cut = [{k: f[at] if np.ndim(f) else f for k, f in term.items()} for term in named]
            parts.append(
                _closed(objective, objective.log_measured[at], cut, theta, weights[..., at])
            )
        value, gradient, hessian = (np.sum(part, axis=0) for part in zip(*parts, strict=True))
        return value, gradient, hessian

    return evaluate


def _closed(
    objective: Objective,
    log_measured: np.ndarray,
    terms: list[dict[int, Array]],
    theta: np.ndarray,
    weights: np.ndarray,
) -> Derivatives:
    """With shares p_j = term_j / loss, d log loss = sum_j p_j X_j, and the curvature is
    sum_j p_j X_j X_j' less the square of that gradient."""
    batch, size = theta.shape
    rows, cost = log_measured.size, objective.cost
    stack = np.empty((len(terms), batch, rows))
    for z, term in zip(stack, terms, strict=True):
        z[:] = sum(theta[:, k, None] * factor for k, factor in term.items())
    peak = stack.max(axis=0)
    stack -= peak
    shares = np.exp(stack, out=stack)
    total = shares.sum(axis=0)
    shares /= total
    r = peak + np.log(total) - log_measured
    slope, curve = cost.slopes(r)
    slope, curve = slope * weights, curve * weights

    # Each entry of the curvature is a weighted sum of products of factors: one matrix product.
    gradient_rows = np.zeros((size, batch, rows))
    hessian = np.zeros((batch, size, size))
    for share, term in zip(shares, terms, strict=True):
        for k, factor in term.items():
            gradient_rows[k] += share if _is_one(factor) else share * factor
        if objective.gauss:
            continue
        pulled = slope * share
        pairs = [(k, m) for k in term for m in term if m >= k]
        products = np.stack(
            [np.broadcast_to(np.asarray(term[k] * term[m], float), rows) for k, m in pairs], axis=1
        )
        for (k, m), entry in zip(pairs, (pulled @ products).T, strict=True):
            hessian[:, k, m] += entry
            if m != k:
                hessian[:, m, k] += entry
    value = np.sum(weights * cost.value(r), axis=-1)
    gradient = np.einsum("br,kbr->bk", slope, gradient_rows)
    by_batch = gradient_rows.transpose(1, 0, 2)
    bent = cost.bowl(r) * weights if objective.gauss else curve - slope
    hessian += (by_batch * bent[:, None, :]) @ by_batch.transpose(0, 2, 1)
    return value, gradient, hessian


def _is_one(factor: Array) -> bool:
    return np.ndim(factor) == 0 and factor == 1.0


def _jets_suffice(objective: Objective) -> bool:
    """Whether a law is made of functions that `jets` knows, tried on one row."""
    one = objective.rows(np.arange(min(1, objective.log_measured.size)))
    low, high = objective.bounds()
    try:
        _jet_of(one, np.clip(np.full((1, len(low)), 0.5), low, high))
    except (AttributeError, TypeError, NotImplementedError):  # JAX tries next, and raises for real
        return False
    return True


def _jet_of(objective: Objective, theta: np.ndarray) -> Jet:
    """Log residuals [batch, rows] with their derivatives by theta."""
    c = {}
    for k, spec in enumerate(objective.law.coefficients):
        variable = seed(theta[:, k, None], k)
        c[spec.name] = Jets.exp(variable) if spec.log else variable
    with np.errstate(all="ignore"):
        log_loss: Jet = Jets.log(objective.law.loss(Jets, c, objective.columns))
        return log_loss - objective.log_measured


def _by_jets(objective: Objective) -> Evaluate:
    rows, size = objective.log_measured.size, len(objective.law.coefficients)

    def evaluate(theta: np.ndarray, weights: np.ndarray) -> Derivatives:
        batch = len(theta)
        value = np.zeros(batch)
        gradient, hessian = np.zeros((batch, size)), np.zeros((batch, size, size))
        chunk = max(1, _CHUNK_VALUES // (4 * batch))
        for start in range(0, rows, chunk):
            at = slice(start, start + chunk)
            part = objective if rows <= chunk else objective.rows(np.arange(rows)[at])
            jet, weight = _jet_of(part, theta), weights[..., at]
            with np.errstate(all="ignore"):
                slope, curve = part.cost.slopes(jet.value)
                if part.gauss:
                    curve = part.cost.bowl(jet.value)
                slope, curve = slope * weight, curve * weight
                value += np.sum(weight * part.cost.value(jet.value), axis=-1)
                for k, first in jet.first.items():
                    gradient[:, k] += np.sum(slope * first, axis=-1)
                    bent = curve * first
                    for m, other in jet.first.items():
                        if m >= k:
                            hessian[:, k, m] += np.sum(bent * other, axis=-1)
                for (k, m), second in () if part.gauss else jet.second.items():
                    hessian[:, k, m] += np.sum(slope * second, axis=-1)
        upper = np.triu(hessian, 1)
        return value, gradient, hessian + upper.transpose(0, 2, 1)

    return evaluate


def _by_jax(objective: Objective) -> Evaluate:
    prepare()
    import jax
    import jax.numpy as jnp

    law, rows = objective.law, objective.log_measured.size
    batched = _compiled(_same(law), objective.cost, objective.gauss)
    cpu = jax.local_devices(backend="cpu")[0]

    def evaluate(theta: np.ndarray, weights: np.ndarray) -> Derivatives:
        parts = []
        chunk = max(64, _CHUNK_VALUES // len(theta))
        for start in range(0, rows, chunk):
            # Padded to a few sizes, so that tables of other lengths find the function compiled.
            picked = np.arange(start, min(start + chunk, rows))
            padded = np.pad(picked, (0, -len(picked) % _pad(len(picked))), mode="edge")
            each = np.zeros((_round_up(len(theta)), len(padded)))
            each[: len(theta), : len(picked)] = np.broadcast_to(weights, (len(theta), rows))[
                :, picked
            ]
            many = np.concatenate([theta, np.repeat(theta[:1], len(each) - len(theta), axis=0)])
            with jax.enable_x64(True), jax.default_device(cpu):
                columns = {n: jnp.asarray(v[padded]) for n, v in objective.columns.items()}
                found = batched(many, each, columns, jnp.asarray(objective.log_measured[padded]))
                kept = [np.asarray(part)[: len(theta)] for part in found]
            parts.append(_gauss(objective.cost, each, *kept) if objective.gauss else kept)
        value, gradient, hessian = (np.sum(part, axis=0) for part in zip(*parts, strict=True))
        return value, gradient, hessian

    return evaluate


def _gauss(
    cost: Cost, weights: np.ndarray, r: np.ndarray, jacobian: np.ndarray
) -> list[np.ndarray]:
    """Value, gradient and Gauss-Newton Hessian from residuals and Jacobians of a batch."""
    weights = weights[: len(r)]
    slope, _ = cost.slopes(r)
    bent = (weights * cost.bowl(r))[:, :, None] * jacobian
    return [
        np.sum(weights * cost.value(r), axis=-1),
        np.einsum("br,brk->bk", weights * slope, jacobian),
        bent.transpose(0, 2, 1) @ jacobian,
    ]


_KNOWN: dict[type, Law] = {}


def _same(law: Law) -> Law:
    """One instance for all of a type that holds no state, so that it is compiled once."""
    return law if vars(law) else _KNOWN.setdefault(type(law), law)


def _jacobian_by_jax(objective: Objective, theta: np.ndarray) -> np.ndarray:
    prepare()
    import jax

    with jax.enable_x64(True), jax.default_device(jax.local_devices(backend="cpu")[0]):
        rows = objective.log_measured.size
        weights = np.zeros((1, rows))
        batched = _compiled(_same(objective.law), objective.cost, True)
        _, found = batched(theta[None], weights, dict(objective.columns), objective.log_measured)
        return np.asarray(found)[0]


def _pad(rows: int) -> int:
    return 64 if rows <= 1024 else 4096


def _round_up(batch: int) -> int:
    size = 8
    while size < batch:
        size *= 4
    return size


@functools.lru_cache(maxsize=32)
def _compiled(law: Law, cost: Cost, gauss: bool) -> Callable[..., Any]:
    """Value, gradient and Hessian of a law's objective, batched over theta and weights."""
    import jax
    import jax.numpy as jnp

    def residuals(theta: Any, columns: Any, log_measured: Any) -> Any:
        c = {
            spec.name: jnp.exp(theta[k]) if spec.log else theta[k]
            for k, spec in enumerate(law.coefficients)
        }
        return jnp.log(law.loss(jnp, c, columns)) - log_measured

    def value(theta: Any, weights: Any, columns: Any, log_measured: Any) -> Any:
        return jnp.sum(weights * cost.value(residuals(theta, columns, log_measured), jnp))

    def exact(theta: Any, weights: Any, columns: Any, log_measured: Any) -> Any:
        first, gradient = jax.value_and_grad(value)(theta, weights, columns, log_measured)
        return first, gradient, jax.hessian(value)(theta, weights, columns, log_measured)

    def rows(theta: Any, weights: Any, columns: Any, log_measured: Any) -> Any:
        del weights
        r = residuals(theta, columns, log_measured)
        return r, jax.jacfwd(residuals)(theta, columns, log_measured)

    all_three = rows if gauss else exact
    found: Callable[..., Any] = jax.jit(jax.vmap(all_three, in_axes=(0, 0, None, None)))
    return found
