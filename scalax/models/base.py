"""The interface of a model family: shapes, counts, a recipe, the Flax module and its metrics.

Importing this file or a family imports no jax, so that planning needs none: only `build` and
`sums` do. The functions here check the results of a family against the interface.
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
    """Architectures of one kind over all sizes. Subclass it to add one.

    Class attributes:
        name: What a user writes.
        title: One line for a listing.
        rules: Logical axis names of parameters to mesh axes (data, fsdp, tensor, expert), or None
            for an axis that is never divided. ``batch``, that of examples, is always there.
        features: Features that the data must have; `require_features` checks them.
        metrics: Names of the metrics that `sums` returns; any of them can be fitted.
        trial: What it is checked on; see `scalax plugins check`.
        interface: Version of this interface that it was written for; 1 where it says nothing.
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
        """The architecture nearest to a target size.

        Args:
            params: Target for all parameters.
            options: The family's own keys of ``[model]``.
            data: What the model will read and predict.

        Returns:
            A frozen dataclass of plain values; equal shapes are equal architectures.

        Raises:
            ScalaxError: An option is unknown or wrong, the data does not suit the family, or no
                architecture comes near the size.
        """

    def size(self, options: Mapping[str, Any], data: DataSpec) -> float | None:
        """The size that the options fix by themselves, for ``params = "auto"`` in a sweep.

        Args:
            options: The family's own keys of ``[model]``.
            data: What the model will read and predict.

        Returns:
            A target that `shape` meets exactly; None where the options leave the size open.
        """
        del options, data
        return None

    @abc.abstractmethod
    def counts(self, shape: Any) -> Counts:
        """Exact parameter counts."""

    @abc.abstractmethod
    def flops_per_unit(self, shape: Any) -> float:
        """Training FLOPs per token (or example): every matrix product, forward and backward."""

    def flops_computed(self, shape: Any) -> float:
        """The products that a step as built really computes per token (or example).

        More than `flops_per_unit` where some of them are wasted and not counted there, such as
        attention's scores that a causal mask hides. A check holds it against the traced step.
        """
        return self.flops_per_unit(shape)

    @abc.abstractmethod
    def recipe(self, shape: Any, units: float, data: DataSpec) -> Recipe:
        """Hyperparameters for a size and an amount of training data in units."""

    def transfers_rate(self, shape: Any) -> bool:
        """Whether the shape's parametrisation carries the learning rate of a base size to others.

        Such a module scales the rate of single parameters (``rate_scale`` beside their logical axis
        names) by Adam's rules, so that no law of the rate in params may come on top.
        """
        del shape
        return False

    @abc.abstractmethod
    def build(self, shape: Any, *, rngs: Any, compute: Compute) -> Any:
        """The module.

        Args:
            shape: What `shape` gave.
            rngs: A ``flax.nnx.Rngs``.
            compute: The dtype to compute in (parameters are float32), and what to recompute.

        Returns:
            A ``flax.nnx.Module`` whose parameters carry logical axis names from ``rules``; one
            with ``rate_scale`` in its metadata learns at so many times the learning rate.
        """

    @abc.abstractmethod
    def sums(self, module: Any, batch: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """Metrics of a batch as sums, so that batches of any size add up exactly.

        Args:
            module: What `build` gave.
            batch: The dataset's features, each [batch, ...], and ``mask`` [batch], 0 where an
                example only fills the batch.

        Returns:
            Sums by metric, ``loss`` among them (float32 scalars), and the weight they are over.
        """


def require_features(family: ModelFamily, data: DataSpec) -> None:
    """Checks that data has the features that a family declares.

    Raises:
        ScalaxError: A feature is missing; names the features that there are.
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
        ScalaxError: A metric is missing, or one of them or the weight is no scalar.
    """
    where = registry.describe("model", family.name) + ": sums"
    result = family.sums(module, batch)
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], Mapping)):
        raise ScalaxError(f"expected sums by metric and a weight, got {result!r}", where=where)
    sums, weight = result
    if lacking := sorted({"loss", *family.metrics} - sums.keys()):
        raise ScalaxError(
            f"expected {', '.join(family.metrics)}; {', '.join(lacking)} is missing", where=where
        )
    for name, value in [*sums.items(), ("weight", weight)]:
        if getattr(value, "shape", ()) != ():
            raise ScalaxError(
                f"expected a scalar for {name}, got shape {value.shape}",
                where=where,
                fix="sum over the batch",
            )
    return dict(sums), weight


def check_counts(family: ModelFamily, shape: Any, found: int) -> None:
    """Raises a ScalaxError if a module has other parameters than `ModelFamily.counts` states."""
    said = family.counts(shape).params
    if said != found:
        raise ScalaxError(
            f"counts says {said:,} parameters, the module that build gave has {found:,}",
            where=registry.describe("model", family.name),
            fix="count every nnx.Param of the module: runs.csv would be wrong",
        )
