"""Counts the multiply-adds of a traced program: an independent check of a family's own count.

It sees what a step really computes: every matrix product and convolution, forward and backward,
inside scans, branches and recomputed parts too. Elementwise work counts nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any


def traced_flops(function: Callable[..., Any], *args: Any) -> float:
    """Two FLOPs for each multiply-add of the products that a function traces to.

    Args:
        function: What jax can trace, such as the gradient of a loss; it is never run.
        args: Its arguments: arrays, or `jax.ShapeDtypeStruct`.

    Returns:
        FLOPs of every ``dot_general``, ``ragged_dot_general`` and ``conv_general_dilated``. A scan
        counts its body once a step, a branch its costlier side, a loop without a known
        length its body once. A convolution's products with padding, or with the holes of a
        dilation, do not count, as XLA's own analysis leaves them out.

    Example:
        >>> import jax
        >>> x, w = jax.ShapeDtypeStruct((4, 8), "float32"), jax.ShapeDtypeStruct((8, 2), "float32")
        >>> traced_flops(lambda x, w: x @ w, x, w)
        128.0
    """
    import jax

    return float(_count(jax.make_jaxpr(function)(*args).jaxpr))


def _count(jaxpr: Any) -> int:
    return sum(_equation(equation) for equation in jaxpr.eqns)


def _equation(equation: Any) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        return _dot(equation)
    if name == "conv_general_dilated":
        return _convolution(equation)
    if name == "ragged_dot_general":
        return _ragged(equation)
    inner = [_count(found) for value in params.values() for found in _jaxprs(value)]
    if name == "cond":
        return max(inner)
    repeat = params["length"] if name == "scan" else 1
    if name == "shard_map":  # each device runs the body on its own part
        repeat = params["mesh"].size
    return int(repeat) * sum(inner)


def _jaxprs(value: Any) -> list[Any]:
    """The programs inside an equation's parameter: one, several or none."""
    if hasattr(value, "eqns"):
        return [value]
    if hasattr(value, "jaxpr"):
        return [value.jaxpr]
    if isinstance(value, tuple | list):
        return [found for item in value for found in _jaxprs(item)]
    return []


def _dot(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    return 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[k] for k in contracted)


def _ragged(equation: Any) -> int:
    """Each row of the left side meets the matrix of its own group alone."""
    numbers = equation.params["ragged_dot_dimension_numbers"]
    left, groups = equation.invars[0].aval.shape, equation.invars[2].aval.shape[0]
    (contracted, _), _ = numbers.dot_dimension_numbers
    total = 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[k] for k in contracted)
    # Where the rows are summed over, the result has a part a group, each from its own rows.
    return int(total // groups if numbers.lhs_ragged_dimensions[0] in contracted else total)


def _convolution(equation: Any) -> int:
    params, numbers = equation.params, equation.params["dimension_numbers"]
    left, right = (variable.aval.shape for variable in equation.invars)
    out = equation.outvars[0].aval.shape
    products = out[numbers.out_spec[0]] * out[numbers.out_spec[1]] * right[numbers.rhs_spec[1]]
    for axis, (low, _) in enumerate(params["padding"]):
        products *= _pairs(
            size=left[numbers.lhs_spec[2 + axis]],
            out=out[numbers.out_spec[2 + axis]],
            kernel=right[numbers.rhs_spec[2 + axis]],
            low=low,
            stride=params["window_strides"][axis],
            holes=params["lhs_dilation"][axis],
            apart=params["rhs_dilation"][axis],
        )
    return 2 * int(products)


def _pairs(
    *, size: int, out: int, kernel: int, low: int, stride: int, holes: int, apart: int
) -> int:
    """Along one axis, how many pairs of a place of the result and of the kernel meet a value."""
    places = (at * stride + k * apart - low for at in range(out) for k in range(kernel))
    return sum(0 <= place <= (size - 1) * holes and place % holes == 0 for place in places)
