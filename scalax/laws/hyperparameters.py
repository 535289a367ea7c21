"""Learning rate and batch size as power laws of size, data and compute.

The recipes of scalax have their laws in `scalax.laws.recipes`, and `scalax.predict.recommend`
chooses the law for an allocation. No law here depends on a model family.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from scalax.errors import ScalaxError
from scalax.laws.power_product import HyperparameterLaw, PowerProduct
from scalax.laws.published import get_published, published

_NUMBERS = ("coefficient", "params", "tokens", "flops")


def steplaw(params: float, tokens: float) -> tuple[float, float]:
    """Evaluates Step Law, for dense language models with AdamW: Li et al. 2025 (arXiv:2503.04715).

    Args:
        params: Model parameters without the vocabulary.
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
    """Evaluates the law in compute of DeepSeek LLM 2024 (arXiv:2401.02954), equation 1.

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
    """Evaluates the law in params of Porian et al. 2024 (arXiv:2406.19146), for D / N near 20.

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
    """Reads the laws of a published entry or of a JSON file.

    Args:
        name: A published law with hyperparameters, or a path that ends in .json: an object with
            ``learning_rate``, ``batch_tokens`` or both, each with ``coefficient`` and exponents.

    Returns:
        One or two laws, by quantity.

    Raises:
        ScalaxError: The law or file does not exist, or contains no such law.

    Example:
        >>> read_law("steplaw2025")["batch_tokens"].equation
        '0.58 D^0.571'
    """
    if name.endswith(".json"):
        return _read_json(Path(name))
    law = get_published(name).hyperparameters
    if law is None:
        known = [key for key, entry in published().items() if entry.hyperparameters]
        raise ScalaxError(
            f"{name} has no law of learning rate and batch size",
            where="law",
            fix=f"name one of {', '.join(known)}, or give a hyperparameters.json",
        )
    return {"learning_rate": law.learning_rate, "batch_tokens": law.batch_tokens}


def _read_json(path: Path) -> dict[str, PowerProduct]:
    fix = "give the hyperparameters.json of a sweep over learning_rate, batch or both"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        given = {name: values.get(name) for name in ("learning_rate", "batch_tokens")}
        laws = {
            name: PowerProduct(**{key: float(law[key]) for key in _NUMBERS if key in law})
            for name, law in given.items()
            if law is not None
        }
    except FileNotFoundError:
        raise ScalaxError("no such file", where=str(path), fix=fix) from None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ScalaxError(f"contains no laws: {error}", where=str(path), fix=fix) from None
    usable = (
        0 < law.coefficient < math.inf and all(abs(getattr(law, v)) <= 10 for v in _NUMBERS[1:])
        for law in laws.values()
    )
    if not laws or not all(usable):
        raise ScalaxError("contains no laws with valid numbers", where=str(path), fix=fix)
    return laws


def _law(name: str) -> HyperparameterLaw:
    law = get_published(name).hyperparameters
    if law is None:
        raise LookupError(f"{name} has no hyperparameters")
    return law
