"""The interface of a model family: shapes, counts, a recipe, the Flax module and its metrics.

Importing this file or a family does not import jax, so that planning works without it; only `build`
and `sums` do. The functions here check a family's results against the interface.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

from scalax import registry
from scalax.errors import ScalaxError
from scalax.models.compute import Compute
from scalax.shapes.base import Counts, DataSpec, Recipe, Trial


class ModelFamily(abc.ABC):
    """Architectures of one kind at all sizes. Subclass it to add a family.

    Class attributes:
        name: The name that a user writes.
        title: One line for listings.
        rules: Mesh axes (data, fsdp, tensor, expert) by logical axis name of the parameters; None
            for an axis that is not sharded. A rule for ``batch``, the axis of examples, is added.
        features: Features that the data must have; `require_features` checks them.
        metrics: Names of the metrics that `sums` returns; a law can be fitted to each of them.
        trial: Data and sizes for `scalax plugins check`.
        interface: Version of this interface that the class was written for; 1 by default.
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str]
    title: ClassVar[str]
    rules: ClassVar[Mapping[str, str | tuple[str, ...] | None]]
    features: ClassVar[tuple[str, ...]] = ()
    metrics: ClassVar[tuple[str, ...]] = ("loss",)
    trial: ClassVar[Trial | None] = None

    @abc.abstractmethod
    def shape(self, params: float, options: Mapping[str, Any], data: DataSpec) -> Any:
        """Returns the architecture nearest to a target size.

        Args:
            params: Target for all parameters.
            options: The family's own keys of ``[model]``.
            data: The data that the model reads and predicts.

        Returns:
            A frozen dataclass of plain values; equal shapes are equal architectures.

        Raises:
            ScalaxError: An option is unknown or invalid, the data lacks a feature, or no
                architecture is near the size.
        """

    def size(self, options: Mapping[str, Any], data: DataSpec) -> float | None:
        """Returns the size that the options alone determine, for ``params = "auto"`` in a sweep.

        Args:
            options: The family's own keys of ``[model]``.
            data: The data that the model reads and predicts.

        Returns:
            A target that `shape` meets exactly; None if the options leave the size open.
        """
        del options, data
        return None

    @abc.abstractmethod
    def counts(self, shape: Any) -> Counts:
        """Returns exact parameter counts."""

    @abc.abstractmethod
    def flops_per_unit(self, shape: Any) -> float:
        """Returns training FLOPs per token (or example) of all matrix products, both passes."""

    def flops_computed(self, shape: Any) -> float:
        """Returns the FLOPs of all matrix products in the compiled step, per token (or example).

        It exceeds `flops_per_unit` if the step computes products that do not count there, such as
        attention scores that a causal mask hides. `scalax plugins check` compares it with the
        traced step.
        """
        return self.flops_per_unit(shape)

    @abc.abstractmethod
    def recipe(self, shape: Any, units: float, data: DataSpec) -> Recipe:
        """Returns hyperparameters for a shape and a number of training units."""

    def transfers_rate(self, shape: Any) -> bool:
        """Returns whether the shape's parametrisation transfers the learning rate across sizes.

        Such a module scales the learning rate of individual parameters (``rate_scale`` in their
        metadata). Scalax then does not also scale the rate by a law in params.
        """
        del shape
        return False

    @abc.abstractmethod
    def build(self, shape: Any, *, rngs: Any, compute: Compute) -> Any:
        """Builds the module.

        Args:
            shape: A result of `shape`.
            rngs: A ``flax.nnx.Rngs``.
            compute: The dtype of activations (parameters are float32) and what to recompute.

        Returns:
            A ``flax.nnx.Module`` whose parameters have logical axis names from ``rules``. The
            learning rate of a parameter is multiplied by ``rate_scale`` in its metadata, if any.
        """

    @abc.abstractmethod
    def sums(self, module: Any, batch: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """Returns the metrics of a batch as sums, so that batches of any size add up exactly.

        Args:
            module: A result of `build`.
            batch: The dataset's features, each [batch, ...], and ``mask`` [batch], which is 0 for
                padding; numpy or jax arrays.

        Returns:
            Sums by metric, including ``loss`` (float32 scalars), and the total weight: metric =
            sum / weight.
        """


def require_features(family: ModelFamily, data: DataSpec) -> None:
    """Checks that data has the features that a family declares.

    Raises:
        ScalaxError: A feature is missing; the message names the features of the data.
    """
    if set(family.features) <= data.features.keys():
        return
    plural = "s" if len(family.features) > 1 else ""
    raise ScalaxError(
        f"needs data with {'' if plural else 'a '}feature{plural} "
        f"{' and '.join(map(repr, family.features))}; {data.name} has {', '.join(data.features)}",
        where=f"model.family {family.name!r}",
        fix="choose another family or dataset",
    )


def checked_sums(
    family: ModelFamily, module: Any, batch: Mapping[str, Any]
) -> tuple[dict[str, Any], Any]:
    """Calls `ModelFamily.sums` and checks the names and shapes of its results.

    Raises:
        ScalaxError: A metric is missing, or a metric or the weight is not a scalar.
    """
    where = registry.describe("model", family.name) + ": sums"
    result = family.sums(module, batch)
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], Mapping)):
        raise ScalaxError(f"expected sums by metric and a weight, got {result!r}", where=where)
    sums, weight = result
    if missing := sorted({"loss", *family.metrics} - sums.keys()):
        raise ScalaxError(
            f"expected {', '.join(family.metrics)}; {', '.join(missing)} is missing", where=where
        )
    for name, value in [*sums.items(), ("weight", weight)]:
        if getattr(value, "shape", ()) != ():
            raise ScalaxError(
                f"expected a scalar for {name}, got shape {value.shape}",
                where=where,
                fix="sum over the batch",
            )
    return dict(sums), weight


def check_counts(family: ModelFamily, shape: Any, params: int) -> None:
    """Checks the number of parameters of a module against `ModelFamily.counts`.

    Raises:
        ScalaxError: They differ.
    """
    stated = family.counts(shape).params
    if stated != params:
        raise ScalaxError(
            f"counts says {stated:,} parameters, but the module from build has {params:,}",
            where=registry.describe("model", family.name),
            fix="count every nnx.Param of the module, otherwise runs.csv would be wrong",
        )
