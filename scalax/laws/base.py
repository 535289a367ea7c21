"""The base class of law forms: coefficients, loss, and how a budget splits under a law.

A law is a pure function of coefficients and columns, written once against an array namespace
``xp``: numpy for a query, jax.numpy or `scalax.fit.hyperdual` for derivatives. It contains no data
and no estimates; `scalax.predict` adds them.
"""

from __future__ import annotations

import abc
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from scalax.array_types import Array as Array
from scalax.errors import ScalaxError
from scalax.laws.allocation_search import search
from scalax.laws.coefficient import Coefficient as Coefficient


@dataclass(frozen=True)
class ComputeRule:
    """Training compute as a function of size.

    ``flops = coefficient * params**exponent * tokens``

    The default is the approximation 6ND (Kaplan et al. 2020, arXiv:2001.08361, section 2.1). The
    exact count of a model family over a range of sizes has its own coefficient and exponent.

    Attributes:
        coefficient: FLOPs per token of a model with one parameter; 6 for 6ND.
        exponent: 1 for 6ND.

    Example:
        >>> ComputeRule().flops(1e9, 2e10)
        1.2e+20
    """

    coefficient: float = 6.0
    exponent: float = 1.0

    @property
    def name(self) -> str:
        """``6ND``, or the rule in plain text."""
        if self == ComputeRule():
            return "6ND"
        return f"{self.coefficient:.4g} N^{self.exponent:.4g} D"

    def flops(self, params: Array, tokens: Array) -> Array:
        """Returns the compute of a training run, in FLOPs."""
        return self.coefficient * params**self.exponent * tokens

    def tokens(self, params: Array, flops: Array) -> Array:
        """Returns the tokens that a budget buys at a size."""
        return flops / (self.coefficient * params**self.exponent)


class Law(abc.ABC):
    """A parametric form of the loss.

    To add a law that is a sum of power terms, subclass `scalax.laws.power_law.PowerLaw`, which
    derives every method from one declaration. To add any other law, subclass this class and write
    `loss` and `basis`.

    The solver needs good starts. Given values of the other coefficients, it computes the linear
    coefficients by least squares of ``target = sum of amount * factor``. `basis` returns the
    factors, and `target` the left side: for most laws the loss itself. Override `target` for a law
    that is linear after a change of variable: E + (A / N^a + B / D^b)^g is, once E is subtracted
    and the root taken. Override `untangle` too if an amount is a function of its coefficient. The
    exact objective uses only `loss`.

    Class attributes:
        name: The name that users write.
        title: One line for a listing.
        equation: The form in plain text.
        source: Paper and equation.
        columns: The columns of the runs table that the law reads, in order.
        coefficients: The coefficients, in order.
        params_expected: Which parameters N counts in the source.
        assumed: Defaults for columns other than params and tokens in a query: for each column a
            description, and a function of the given columns that returns the value.
        typical: Plausible range of each coefficient, and of columns other than params, tokens and
            flops. Checks and synthetic sweeps draw from it.
        falls_with: The columns in which the loss never rises; None for all columns.
        interface: The version of this interface that the law was written for; 1 by default.
        reference: The text by which files name the law, for `scalax.laws.resolve.resolve_law`:
            ``NAME = FORMULA`` for a law from a formula. Empty for a law that its name identifies.
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
    reference: ClassVar[str] = ""

    @abc.abstractmethod
    def loss(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> Array:
        """Returns the loss, in the unit of the data that the law was fitted to.

        Args:
            xp: numpy or jax.numpy, or another namespace with the same functions.
            c: Coefficients by name: floats, or arrays that broadcast against the columns.
            x: Columns by name: floats or arrays.

        Returns:
            The loss, of the broadcast shape.
        """

    @abc.abstractmethod
    def basis(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> list[Array]:
        """Returns the factors of the linear coefficients, in order.

        Args:
            xp: numpy or jax.numpy.
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
        """Returns the left side of the linear equation: what the sum of amount * factor equals.

        By default it is the loss. It may be any monotone function of the loss.

        Args:
            xp: numpy or jax.numpy.
            c: The coefficients that are not linear, by name.
            x: Columns by name.
            loss: The measured loss.

        Returns:
            An array of the broadcast shape; NaN where no linear coefficients give the loss.
        """
        return loss

    def untangle(
        self,
        c: Mapping[str, Array],
        amounts: Mapping[str, Array],
    ) -> dict[str, Array]:
        """Returns the linear coefficients that give the amounts; by default the amounts themselves.

        Args:
            c: The coefficients that are not linear, by name.
            amounts: Positive amounts by the name of the linear coefficient.
        """
        return dict(amounts)

    def complete(self, x: Mapping[str, Array]) -> dict[str, Array]:
        """Returns the columns of a query, with missing columns filled in from `assumed`.

        Raises:
            ScalaxError: A column that the law reads is neither given nor assumed.
        """
        columns = dict(x)
        for name, (_, rule) in self.assumed.items():
            if name not in columns:
                columns[name] = rule(columns)
        missing = [name for name in self.columns if name not in columns]
        if missing:
            raise ScalaxError(
                f"{self.name} also needs {', '.join(missing)}",
                where=self.name,
                fix=f"--given {missing[0]}=VALUE",
            )
        return columns

    def params_computed(self, x: Mapping[str, Array]) -> Array:
        """Returns the parameters that one token uses, from which compute is counted."""
        return x["params"]

    def allocate(
        self,
        c: Mapping[str, Array],
        flops: Array,
        compute: ComputeRule,
        given: Mapping[str, Array] | None = None,
    ) -> tuple[Array, Array]:
        """Returns the split of a budget that minimises the loss, by a search over sizes.

        A scan of 30 decades of params finds the lowest valley, and a golden-section search its
        minimum, to 1e-9 in log params. Laws with a closed form override this method.

        Args:
            c: Coefficients by name: floats, or arrays of one shape.
            flops: Budget in FLOPs, of a shape that broadcasts against the coefficients.
            compute: The training compute as a function of params and tokens.
            given: The law's other columns by name, such as ``unique_tokens``.

        Returns:
            params and tokens, of the broadcast shape; NaN where no split is optimal because the
            loss falls to an end of the scan.

        Raises:
            ScalaxError: The law does not read both params and tokens, or needs another column.
        """
        self.require_split()
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

        x = columns(search(loss_at, shape, 0.0, math.log(1e30)))
        return x["params"], x["tokens"]

    def require_split(self) -> None:
        """Raises a ScalaxError unless the law reads both params and tokens."""
        if not {"params", "tokens"} <= set(self.columns):
            raise ScalaxError(
                f"{self.name} is a law of {' and '.join(self.columns)} alone: it cannot split a "
                "budget between parameters and data",
                where="allocate",
                fix="fit a law of both, such as --law chinchilla",
            )

    def demand_split(self) -> None:
        """Deprecated name of `require_split`."""
        warnings.warn("use Law.require_split", DeprecationWarning, stacklevel=2)
        self.require_split()
