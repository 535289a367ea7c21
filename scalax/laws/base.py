"""What every law form provides: its coefficients, its loss, how a budget splits under it.

A law is a pure function of coefficients and columns, written once against an array namespace
``xp`` (numpy for a query, jax.numpy where derivatives are wanted). It holds no data and no
estimates; `scalax.predict` joins it with those.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from scalax.errors import ScalaxError
from scalax.laws.allocation_search import search
from scalax.laws.coefficient import Array as Array
from scalax.laws.coefficient import Coefficient as Coefficient


@dataclass(frozen=True)
class ComputeRule:
    """Training compute as a function of size: flops = coefficient * params**exponent * tokens.

    The default is the approximation 6ND (Kaplan et al. 2020, arXiv:2001.08361, section 2.1). A
    family's exact count over a range of sizes is described by its own coefficient and exponent.

    Attributes:
        coefficient: FLOPs per token at one parameter; 6 for 6ND.
        exponent: 1 for 6ND.

    Example:
        >>> ComputeRule().flops(1e9, 2e10)
        1.2e+20
    """

    coefficient: float = 6.0
    exponent: float = 1.0

    @property
    def name(self) -> str:
        """``6ND``, or the rule written out."""
        if self == ComputeRule():
            return "6ND"
        return f"{self.coefficient:.4g} N^{self.exponent:.4g} D"

    def flops(self, params: Array, tokens: Array) -> Array:
        """Compute of a training run, in FLOPs."""
        return self.coefficient * params**self.exponent * tokens

    def tokens(self, params: Array, flops: Array) -> Array:
        """Tokens that a budget buys at a size."""
        return flops / (self.coefficient * params**self.exponent)


class Law(abc.ABC):
    """A parametric form of the loss. Subclass it to add one; see `scalax.laws.chinchilla`.

    A law that is a sum of linear coefficients times factors gives `basis` alone. One that becomes
    such a sum under a change of variable, as E + (A / N^a + B / D^b)^g does once E is taken off
    and the root of g drawn, also gives `target`, and where a coefficient stands in the sum as a
    function of itself, `untangle`; see `scalax.laws.joint` and `scalax.laws.kaplan`. These serve
    only to find good starts: the exact objective uses `loss`.

    Class attributes:
        name: What a user writes.
        title: One line for a listing.
        equation: The form, in plain text.
        source: Paper and equation.
        columns: The columns of the runs table that it reads, in order.
        coefficients: Its coefficients, in order.
        params_expected: Which parameters its N counts in the source.
        assumed: What a query takes a column other than params and tokens to be where it is not
            given: words for the reader, and the value given the other columns.
        typical: Plausible least and greatest value of each coefficient, and of columns other than
            params, tokens and flops: what a check or a synthetic sweep draws from.
        falls_with: The columns in which the loss never rises as they grow; None for all of them.
        interface: Version of this interface that it was written for; 1 where it says nothing.
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str]
    title: ClassVar[str]
    equation: ClassVar[str]
    source: ClassVar[str]
    columns: ClassVar[tuple[str, ...]] = ("params", "tokens")
    coefficients: ClassVar[tuple[Coefficient, ...]]
    params_expected: ClassVar[str] = "all parameters, embeddings included"
    assumed: ClassVar[Mapping[str, tuple[str, Callable[[Mapping[str, Array]], Array]]]] = {}
    typical: ClassVar[Mapping[str, tuple[float, float]]] = {}
    falls_with: ClassVar[tuple[str, ...] | None] = None

    @abc.abstractmethod
    def loss(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> Array:
        """The loss, in the unit of the data it was fitted to.

        Args:
            xp: numpy, or jax.numpy.
            c: Coefficients by name, each a float or an array that broadcasts against columns.
            x: Columns by name, each a float or an array.

        Returns:
            The loss, of the broadcast shape.
        """

    @abc.abstractmethod
    def basis(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> list[Array]:
        """The factors of the linear coefficients, in order: target = sum of amount * factor.

        Args:
            xp: numpy, or jax.numpy.
            c: The coefficients that are not linear, by name.
            x: Columns by name.
        """

    def target(
        self,
        xp: Any,
        c: Mapping[str, Array],
        x: Mapping[str, Array],
        loss: Array,
    ) -> Array:
        """What the sum over `basis` equals where the law holds exactly: the loss itself, or a
        function of it that is monotone for the coefficients given.

        Args:
            xp: numpy, or jax.numpy.
            c: The coefficients that are not linear, by name.
            x: Columns by name.
            loss: The measured loss.

        Returns:
            Of the broadcast shape; NaN where no linear coefficients give such a loss.
        """
        return loss

    def untangle(
        self,
        c: Mapping[str, Array],
        amounts: Mapping[str, Array],
    ) -> dict[str, Array]:
        """The linear coefficients from the amounts of their factors: by default the same.

        Args:
            c: The coefficients that are not linear, by name.
            amounts: Positive, by the name of the linear coefficient.
        """
        return dict(amounts)

    def terms(self, x: Mapping[str, Array]) -> list[dict[str, Array]] | None:
        """The loss as a sum of exponentials of linear forms, where the law is one.

        Such laws get exact derivatives in closed form; the others get them from JAX.

        Args:
            x: Columns by name.

        Returns:
            For each term, the factor of each coefficient in its exponent, where a linear
            coefficient stands as its logarithm: ``[{"A": 1.0, "alpha": -log(params)}, ...]``;
            None where the law has no such form.
        """
        return None

    def complete(self, x: Mapping[str, Array]) -> dict[str, Array]:
        """The columns of a query, with those not given filled in as `assumed` says.

        Raises:
            ScalaxError: A column that the law reads is neither given nor assumed.
        """
        found = dict(x)
        for name, (_, rule) in self.assumed.items():
            if name not in found:
                found[name] = rule(found)
        lacking = [name for name in self.columns if name not in found]
        if lacking:
            raise ScalaxError(
                f"{self.name} also needs {', '.join(lacking)}",
                where=self.name,
                fix=f"--given {lacking[0]}=VALUE",
            )
        return found

    def params_computed(self, x: Mapping[str, Array]) -> Array:
        """The parameters that each token passes through, which compute is counted from."""
        return x["params"]

    def allocate(
        self,
        c: Mapping[str, Array],
        flops: Array,
        compute: ComputeRule,
        given: Mapping[str, Array] | None = None,
    ) -> tuple[Array, Array]:
        """The split of a budget that minimises the loss, by a search over sizes.

        A scan of thirty decades of params finds the lowest valley, a golden section its floor to
        1e-9 in log params. Laws with a closed form override this.

        Args:
            c: Coefficients by name; floats, or arrays of one shape.
            flops: Budget in FLOPs, of a shape that broadcasts against them.
            compute: How params and tokens make up FLOPs.
            given: The law's other columns by name, such as ``unique_tokens``.

        Returns:
            params and tokens, of the broadcast shape; NaN where the loss falls to either end of
            the scan, so that no split is best.

        Raises:
            ScalaxError: The law is not of both params and tokens, or needs another column.
        """
        self.demand_split()
        fixed = dict(given or {})
        shape = np.broadcast_shapes(np.shape(flops), *(np.shape(v) for v in c.values()))

        def columns(log_params: Array) -> dict[str, Array]:
            x = self.complete({**fixed, "params": np.exp(log_params), "tokens": np.ones(())})
            tokens = compute.tokens(self.params_computed(x), flops)
            return self.complete({**fixed, "params": np.exp(log_params), "tokens": tokens})

        def loss_at(log_params: Array) -> Array:
            with np.errstate(all="ignore"):
                loss = self.loss(np, c, columns(log_params))
            return np.where(np.isfinite(loss), loss, np.inf)

        best = search(loss_at, shape, 0.0, math.log(1e30))
        x = columns(best)
        return x["params"], x["tokens"]

    def demand_split(self) -> None:
        """Raises a ScalaxError where the loss does not depend on both params and tokens."""
        if not {"params", "tokens"} <= set(self.columns):
            raise ScalaxError(
                f"{self.name} is a law of {' and '.join(self.columns)} alone: it cannot split a "
                "budget between parameters and data",
                where="allocate",
                fix="fit a law of both, such as --law chinchilla",
            )
