"""Counts the FLOPs of a traced program, as an independent check of a family's own count.

It counts every matrix product and convolution that a step computes, forward and backward, including
those in scans, branches and recomputed parts. It does not count elementwise operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any


def traced_flops(function: Callable[..., Any], *args: Any) -> float:
    """Returns the FLOPs of a function's matrix products and convolutions: two per multiply-add.

    The body of a scan counts once per step, a conditional counts its most expensive branch, and the
    body of a loop of unknown length counts once. Products of a convolution with padding or with the
    gaps of a dilated input do not count, as in XLA's own analysis.

    Args:
        function: A function that jax can trace, such as the gradient of a loss; it does not run.
        args: The arguments of the function: arrays, or `jax.ShapeDtypeStruct`.

    Returns:
        FLOPs of all ``dot_general``, ``ragged_dot_general`` and ``conv_general_dilated``.

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
    inner = [_count(jaxpr) for value in params.values() for jaxpr in _jaxprs(value)]
    if name == "cond":
        return max(inner)
    repeat = params["length"] if name == "scan" else 1
    if name == "shard_map":  # each device runs the body on its own shard
        repeat = params["mesh"].size
    return int(repeat) * sum(inner)


def _jaxprs(value: Any) -> list[Any]:
    """Returns the programs in an equation's parameter."""
    if hasattr(value, "eqns"):
        return [value]
    if hasattr(value, "jaxpr"):
        return [value.jaxpr]
    if isinstance(value, tuple | list):
        return [jaxpr for item in value for jaxpr in _jaxprs(item)]
    return []


def _dot(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    return 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[k] for k in contracted)


def _ragged(equation: Any) -> int:
    """Counts a product in which each row is multiplied by the matrix of its own group."""
    numbers = equation.params["ragged_dot_dimension_numbers"]
    left, groups = equation.invars[0].aval.shape, equation.invars[2].aval.shape[0]
    (contracted, _), _ = numbers.dot_dimension_numbers
    total = 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[k] for k in contracted)
    # If the product sums over the rows, each group's result uses only the rows of that group.
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
            input_dilation=params["lhs_dilation"][axis],
            kernel_dilation=params["rhs_dilation"][axis],
        )
    return 2 * int(products)


def _pairs(
    *,
    size: int,
    out: int,
    kernel: int,
    low: int,
    stride: int,
    input_dilation: int,
    kernel_dilation: int,
) -> int:
    """Counts the pairs of output and kernel positions along one axis that read an input value.

    Args:
        size: Length of the input.
        out: Length of the output.
        kernel: Length of the kernel.
        low: Padding before the input.
        stride: Step of the kernel.
        input_dilation: Distance between input values after dilation.
        kernel_dilation: Distance between kernel values after dilation.
    """
    last = (size - 1) * input_dilation
    positions = (
        at * stride + k * kernel_dilation - low for at in range(out) for k in range(kernel)
    )
    return sum(0 <= at <= last and at % input_dilation == 0 for at in positions)
