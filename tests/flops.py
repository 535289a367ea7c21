"""Counts the multiply-adds of a traced function, independently of any family's own count."""

from __future__ import annotations

import math
from typing import Any

import jax


def matmul_flops(jaxpr: Any) -> int:
    """Two FLOPs a multiply-add of every dot_general in a jaxpr, those of inner ones too."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contract, _), (batch, _) = equation.params["dimension_numbers"]
            left, right = (v.aval.shape for v in equation.invars)
            shared = math.prod(left[k] for k in batch)
            inner = math.prod(left[k] for k in contract)
            rows = math.prod(left) // (shared * inner)
            columns = math.prod(right) // (shared * inner)
            total += 2 * shared * inner * rows * columns
        repeat = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        for value in equation.params.values():
            total += repeat * sum(map(matmul_flops, _inner(value)))
    return total


def _inner(value: Any) -> list[Any]:
    if isinstance(value, jax.extend.core.ClosedJaxpr):
        return [value.jaxpr]
    if isinstance(value, jax.extend.core.Jaxpr):
        return [value]
    if isinstance(value, tuple | list):
        return [found for item in value for found in _inner(item)]
    return []
