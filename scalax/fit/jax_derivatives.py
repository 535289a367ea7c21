"""Derivatives of a law by JAX, in float64 on the CPU, for laws that hyper-dual numbers don't cover.

Each law is compiled once per process. Batches and chunks are padded to a few sizes, so that tables
of different lengths share the compiled function. JAX is imported at the first call.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from scalax.array_types import Float
from scalax.devices import prepare
from scalax.fit.cost import Cost
from scalax.fit.derivatives import CHUNK_VALUES, Derivatives, Evaluate, RowCosts
from scalax.laws.base import Law

_LEAST_CHUNK = 64
_SHARED: dict[type, Law] = {}


def by_jax(costs: RowCosts) -> Evaluate:
    """Returns a function that differentiates by JAX; see `scalax.fit.derivatives.Evaluate`."""
    prepare()
    import jax
    import jax.numpy as jnp

    compiled = _compiled(_shared_instance(costs.law), costs.cost, costs.gauss)
    cpu = jax.local_devices(backend="cpu")[0]

    def evaluate(theta: np.ndarray, weights: np.ndarray) -> Derivatives:
        batch = len(theta)
        every_weight = np.broadcast_to(weights, (batch, costs.rows))
        chunk = max(_LEAST_CHUNK, CHUNK_VALUES // batch)
        parts = []
        for start in range(0, costs.rows, chunk):
            rows = np.arange(start, min(start + chunk, costs.rows))
            padded_rows = np.pad(rows, (0, -len(rows) % _row_multiple(len(rows))), mode="edge")
            padded_weights = np.zeros((_padded_batch(batch), len(padded_rows)))
            padded_weights[:batch, : len(rows)] = every_weight[:, rows]
            extra = np.repeat(theta[:1], len(padded_weights) - batch, axis=0)
            with jax.enable_x64(True), jax.default_device(cpu):
                columns = {n: jnp.asarray(v[padded_rows]) for n, v in costs.columns.items()}
                outputs = compiled(
                    np.concatenate([theta, extra]),
                    padded_weights,
                    columns,
                    jnp.asarray(costs.log_measured[padded_rows]),
                )
                arrays = [np.asarray(output)[:batch] for output in outputs]
            if costs.gauss:
                arrays = _gauss_newton(costs.cost, padded_weights[:batch], *arrays)
            parts.append(arrays)
        value, gradient, hessian = (np.sum(part, axis=0) for part in zip(*parts, strict=True))
        return value, gradient, hessian

    return evaluate


def log_jacobian_by_jax(
    costs: RowCosts, theta: Float[np.ndarray, " coefficients"]
) -> Float[np.ndarray, "rows coefficients"]:
    """Returns the derivatives of log loss by theta at each row, [rows, coefficients]."""
    prepare()
    import jax

    with jax.enable_x64(True), jax.default_device(jax.local_devices(backend="cpu")[0]):
        compiled = _compiled(_shared_instance(costs.law), costs.cost, True)
        weights = np.zeros((1, costs.rows))
        _, jacobian = compiled(theta[None], weights, dict(costs.columns), costs.log_measured)
        return np.asarray(jacobian)[0]


def _gauss_newton(
    cost: Cost, weights: np.ndarray, r: np.ndarray, jacobian: np.ndarray
) -> list[np.ndarray]:
    """Returns value, gradient and Gauss-Newton Hessian from residuals and Jacobians of a batch."""
    slope, _ = cost.slopes(r)
    bent = (weights * cost.bowl(r))[:, :, None] * jacobian
    return [
        np.sum(weights * cost.value(r), axis=-1),
        np.einsum("br,brk->bk", weights * slope, jacobian),
        bent.transpose(0, 2, 1) @ jacobian,
    ]


def _shared_instance(law: Law) -> Law:
    """Returns the same instance for all stateless instances of a class: JAX compiles it once."""
    return law if vars(law) else _SHARED.setdefault(type(law), law)


def _row_multiple(rows: int) -> int:
    return 64 if rows <= 1024 else 4096


def _padded_batch(batch: int) -> int:
    size = 8
    while size < batch:
        size *= 4
    return size


@functools.lru_cache(maxsize=32)
def _compiled(law: Law, cost: Cost, gauss: bool) -> Callable[..., Any]:
    """Returns the compiled function of theta, weights, columns and log measurements.

    The function returns value, gradient and Hessian, or for Gauss-Newton the residuals and their
    Jacobian.
    """
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

    def residuals_and_jacobian(theta: Any, weights: Any, columns: Any, log_measured: Any) -> Any:
        del weights
        r = residuals(theta, columns, log_measured)
        return r, jax.jacfwd(residuals)(theta, columns, log_measured)

    function = residuals_and_jacobian if gauss else exact
    compiled: Callable[..., Any] = jax.jit(jax.vmap(function, in_axes=(0, 0, None, None)))
    return compiled
