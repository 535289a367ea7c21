"""The closed form of the optimal split of a compute budget between two power terms.

It takes exponents and a compute rule, never a law.
"""

from __future__ import annotations

import numpy as np

from scalax.laws.base import Array, ComputeRule


def split_two_powers(
    alpha: Array, log_a: Array, beta: Array, log_b: Array, flops: Array, compute: ComputeRule
) -> tuple[Array, Array]:
    """Minimises A / N^alpha + B / D^beta subject to flops = k N^p D.

    Any increasing function of that sum has the same minimum. With M = N^p, the budget is k M D
    and the first term is A / M^(alpha / p), which is the case of Hoffmann et al. 2022
    (arXiv:2203.15556), equation 4. The logarithms of A and B avoid an overflow.

    Args:
        alpha: Exponent of params.
        log_a: Logarithm of A.
        beta: Exponent of tokens.
        log_b: Logarithm of B.
        flops: Budget in FLOPs.
        compute: Compute as a function of params and tokens.

    Returns:
        params and tokens, of the broadcast shape.

    Example:
        >>> n, d = split_two_powers(0.5, 0.0, 0.5, 0.0, 6e12, ComputeRule())
        >>> round(float(n)), round(float(d))
        (1000000, 1000000)
    """
    slope = alpha / compute.exponent
    log_ratio = (np.log(slope) + log_a - np.log(beta) - log_b) / (slope + beta)
    log_scaled = np.log(flops) - np.log(compute.coefficient)
    params = np.exp((log_ratio + log_scaled * beta / (slope + beta)) / compute.exponent)
    return params, compute.tokens(params, flops)
