"""Counts the multiply-adds of a traced program: an independent check of the analytic FLOPs."""

from __future__ import annotations

import math
from typing import Any

import jax


def traced_flops(closed: Any) -> float:
    """Two for each multiply-add of `dot_general` and `conv_general_dilated` in a closed jaxpr.

    A convolution's products with padding, or with the holes of a dilation, are not counted.
    """
    return float(_count(closed.jaxpr))


def _count(jaxpr: Any) -> int:
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            total += _dot(equation)
        elif equation.primitive.name == "conv_general_dilated":
            total += _conv(equation)
        for value in equation.params.values():
            for inner in jax.tree.leaves(value, is_leaf=lambda v: hasattr(v, "eqns")):
                if hasattr(inner, "jaxpr"):
                    total += _count(inner.jaxpr)
                elif hasattr(inner, "eqns"):
                    total += _count(inner)
    return total


def _dot(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    out = equation.outvars[0].aval.shape
    return 2 * math.prod(out) * math.prod(left[axis] for axis in contracted)


def _conv(equation: Any) -> int:
    params = equation.params
    numbers = params["dimension_numbers"]
    left, right = (variable.aval.shape for variable in equation.invars)
    out = equation.outvars[0].aval.shape
    assert params["feature_group_count"] == params["batch_group_count"] == 1
    products = out[numbers.out_spec[0]] * out[numbers.out_spec[1]] * right[numbers.rhs_spec[1]]
    for axis in range(2):
        size = left[numbers.lhs_spec[2 + axis]]
        low, _ = params["padding"][axis]
        holes = params["lhs_dilation"][axis]
        products *= sum(
            (place := at * params["window_strides"][axis] + k * params["rhs_dilation"][axis] - low)
            >= 0
            and place % holes == 0
            and place // holes < size
            for at in range(out[numbers.out_spec[2 + axis]])
            for k in range(right[numbers.rhs_spec[2 + axis]])
        )
    return 2 * products
