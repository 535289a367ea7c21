"""Reads the published laws: their coefficients, sources and conventions."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from scalax.errors import ScalaxError, suggest
from scalax.laws.power_allocation import Frontier
from scalax.laws.power_product import HyperparameterLaw, PowerProduct


@dataclass(frozen=True)
class Published:
    """The laws of a paper: of the loss, the optimal split, hyperparameters, or several of them.

    Attributes:
        name: The name that a user writes, such as ``hoffmann2022``.
        title: One line for a listing.
        paper: Authors, year, title, identifier.
        where: Table, equation or section, and notes on the digits.
        checked: The date on which the numbers were checked against the source, in ISO format.
        params_counted: Which parameters N counts in the paper.
        compute: The compute constraint of the paper.
        law: Name of the form of the loss law; None where the paper gives none.
        loss_coefficients: Coefficients of that form, by name.
        allocation: The law of the optimal split, or None.
        hyperparameters: The law of learning rate and batch, or None.
        ranges: Least and greatest params, tokens or flops of the paper's runs.
    """

    name: str
    title: str
    paper: str
    where: str
    checked: str
    params_counted: str
    compute: str
    law: str | None = None
    loss_coefficients: dict[str, float] = field(default_factory=dict)
    allocation: Frontier | None = None
    hyperparameters: HyperparameterLaw | None = None
    ranges: dict[str, list[float]] = field(default_factory=dict)

    @property
    def gives(self) -> list[str]:
        """Which of loss, allocation and hyperparameters the paper gives."""
        parts = {
            "loss": self.law,
            "allocation": self.allocation or self.law,
            "hyperparameters": self.hyperparameters,
        }
        return [name for name, part in parts.items() if part]

    @property
    def coefficients(self) -> dict[str, float]:
        """All coefficients by name."""
        values = dict(self.loss_coefficients)
        for part in (self.allocation, self.hyperparameters):
            if part:
                values |= part.coefficients
        return values


@functools.cache
def published() -> dict[str, Published]:
    """Returns all published laws by name."""
    text = resources.files("scalax.laws").joinpath("published.toml").read_text(encoding="utf-8")
    return {name: _entry(name, dict(entry)) for name, entry in tomllib.loads(text).items()}


def _entry(name: str, entry: dict[str, Any]) -> Published:
    ranges = {
        column: entry.pop(f"{column}_range")
        for column in ("params", "tokens", "flops")
        if f"{column}_range" in entry
    }
    if "allocation" in entry:
        pairs = {k: (float(v[0]), float(v[1])) for k, v in entry["allocation"].items()}
        entry["allocation"] = Frontier(**pairs)
    if "hyperparameters" in entry:
        given = entry["hyperparameters"]
        spans = given.get("ranges", ranges)
        entry["hyperparameters"] = HyperparameterLaw(
            learning_rate=PowerProduct(**given["learning_rate"]),
            batch_tokens=PowerProduct(**given["batch_tokens"]),
            ranges={k: (float(low), float(high)) for k, (low, high) in spans.items()},
        )
    entry["loss_coefficients"] = entry.pop("coefficients", {})
    entry["checked"] = entry["checked"].isoformat()
    return Published(name=name, ranges=ranges, **entry)


def get_published(name: str) -> Published:
    """Returns one published law.

    Raises:
        ScalaxError: No published law has this name.

    Example:
        >>> get_published("hoffmann2022").coefficients["alpha"]
        0.33917084
    """
    known = published()
    if name not in known:
        raise ScalaxError(f"unknown published law {name!r}", fix=suggest(name, known))
    return known[name]
