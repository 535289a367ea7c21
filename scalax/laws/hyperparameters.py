"""Learning rate and batch size as power laws of size, data and compute.

`scalax.laws.recipes` has the laws of scalax's own recipes, and `scalax.predict.recommend` chooses
the law for an allocation. Nothing here depends on a model.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

from scalax.errors import ScalaxError
from scalax.laws.base import Array


@dataclass(frozen=True)
class PowerProduct:
    """coefficient * params^a * tokens^b * flops^c.

    Attributes:
        coefficient: Its size.
        params: Exponent of the parameters.
        tokens: Exponent of the training tokens.
        flops: Exponent of the training compute.

    Example:
        >>> PowerProduct(2.0, tokens=0.5)(params=1e9, tokens=1e10, flops=6e19)
        200000.0
    """

    coefficient: float
    params: float = 0.0
    tokens: float = 0.0
    flops: float = 0.0

    def __call__(self, *, params: Array, tokens: Array, flops: Array) -> Array:
        """The quantity."""
        return self.coefficient * params**self.params * tokens**self.tokens * flops**self.flops

    @property
    def equation(self) -> str:
        """The product in plain text."""
        powers = (("N", self.params), ("D", self.tokens), ("C", self.flops))
        return f"{self.coefficient:g}" + "".join(f" {s}^{e:g}" for s, e in powers if e)


_NUMBERS = ("coefficient", "params", "tokens", "flops")


@dataclass(frozen=True)
class HyperparameterLaw:
    """Learning rate and batch of a paper.

    Attributes:
        learning_rate: The peak learning rate.
        batch_tokens: The batch size, in tokens.
        ranges: Least and greatest params, tokens or flops of the runs behind it.
        learning_rate_max: Upper limit of the learning rate.
    """

    learning_rate: PowerProduct
    batch_tokens: PowerProduct
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    learning_rate_max: float = math.inf

    def __call__(self, params: float, tokens: float, flops: float) -> tuple[float, float]:
        """Peak learning rate and batch size in tokens."""
        at = {"params": params, "tokens": tokens, "flops": flops}
        rate = min(self.learning_rate_max, float(self.learning_rate(**at)))
        return rate, float(self.batch_tokens(**at))

    def outside(self, params: float, tokens: float, flops: float) -> float:
        """By what factor a point lies outside the runs, at most over the variables; 1 inside."""
        at = {"params": params, "tokens": tokens, "flops": flops}
        return max(
            (max(low / at[k], at[k] / high, 1.0) for k, (low, high) in self.ranges.items()),
            default=1.0,
        )

    @property
    def equation(self) -> str:
        """Both products in plain text."""
        rate, batch = self.learning_rate.equation, self.batch_tokens.equation
        return f"learning rate = {rate}, batch = {batch} tokens"

    @property
    def coefficients(self) -> dict[str, float]:
        """The numbers by name."""
        found = {}
        for name in ("learning_rate", "batch_tokens"):
            product: PowerProduct = getattr(self, name)
            found[f"{name}_coefficient"] = product.coefficient
            for variable in ("params", "tokens", "flops"):
                if exponent := getattr(product, variable):
                    found[f"{name}_{variable}_exponent"] = exponent
        return found


def steplaw(params: float, tokens: float) -> tuple[float, float]:
    """Step Law: Li et al. 2025 (arXiv:2503.04715), of dense language models with AdamW.

    Args:
        params: Model parameters without the vocabulary's.
        tokens: Training tokens.

    Returns:
        Peak learning rate, and batch size in tokens.

    Example:
        >>> rate, batch = steplaw(1e9, 1e11)
        >>> round(rate, 5), round(batch)
        (0.00163, 1107715)
    """
    return _law("steplaw2025")(params, tokens, 6 * params * tokens)


def deepseek(flops: float) -> tuple[float, float]:
    """DeepSeek LLM 2024 (arXiv:2401.02954), equation 1: of compute alone.

    Args:
        flops: Training compute without embeddings, in FLOPs.

    Returns:
        Peak learning rate, and batch size in tokens.

    Example:
        >>> rate, batch = deepseek(8.46e22)
        >>> round(rate, 6), round(batch / 1e6, 1)
        (0.000425, 9.2)
    """
    return _law("deepseek2024")(1.0, 1.0, flops)


def porian(params: float) -> tuple[float, float]:
    """Porian et al. 2024 (arXiv:2406.19146): of params alone, near 20 tokens a parameter.

    Args:
        params: Model parameters, the output head included.

    Returns:
        Peak learning rate, and batch size in tokens.

    Example:
        >>> rate, batch = porian(1e9)
        >>> round(rate, 5), round(batch / 1e6, 2)
        (0.00213, 1.61)
    """
    return _law("porian2024")(params, 1.0, 1.0)


def read_law(name: str) -> dict[str, PowerProduct]:
    """The laws of a published entry, or of a JSON file.

    Args:
        name: A published law with hyperparameters, or a path that ends in .json: an object with
            ``learning_rate``, ``batch_tokens`` or both, each with ``coefficient`` and exponents.

    Returns:
        One or two laws by name.

    Raises:
        ScalaxError: No such law or file, or it holds none.

    Example:
        >>> read_law("steplaw2025")["batch_tokens"].equation
        '0.58 D^0.571'
    """
    if name.endswith(".json"):
        return _read_json(Path(name))
    from scalax.laws.published import get_published, published

    law = get_published(name).hyperparameters
    if law is None:
        known = [key for key, entry in published().items() if entry.hyperparameters]
        raise ScalaxError(
            f"{name} says nothing of learning rate and batch", fix=f"give {', '.join(known)}"
        )
    return {"learning_rate": law.learning_rate, "batch_tokens": law.batch_tokens}


def _read_json(path: Path) -> dict[str, PowerProduct]:
    fix = "give the hyperparameters.json of a sweep over learning_rate, batch or both"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        given = {name: values.get(name) for name in ("learning_rate", "batch_tokens")}
        found = {
            name: PowerProduct(**{key: float(law[key]) for key in _NUMBERS if key in law})
            for name, law in given.items()
            if law is not None
        }
    except FileNotFoundError:
        raise ScalaxError("no such file", where=str(path), fix=fix) from None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ScalaxError(f"holds no laws: {error}", where=str(path), fix=fix) from None
    usable = (
        0 < law.coefficient < math.inf and all(abs(getattr(law, v)) <= 10 for v in _NUMBERS[1:])
        for law in found.values()
    )
    if not found or not all(usable):
        raise ScalaxError("holds no laws of usable numbers", where=str(path), fix=fix)
    return found


def _law(name: str) -> HyperparameterLaw:
    from scalax.laws.published import get_published

    law = get_published(name).hyperparameters
    if law is None:
        raise LookupError(f"{name} holds no hyperparameters")
    return law
