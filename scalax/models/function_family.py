"""Makes a model family from one function: `sx.family`.

Parameters are counted on the abstract module, FLOPs on its traced gradient, and the size is found
by search, so an author writes only the function and its module. Importing this file does not import
jax; counting does.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from scalax import registry
from scalax.errors import ScalaxError
from scalax.models.base import ModelFamily, require_features
from scalax.models.compute import Compute
from scalax.schema import Settings, parse
from scalax.shapes.base import Counts, DataSpec, Feature, Recipe, Trial
from scalax.shapes.default_recipe import default_recipe
from scalax.shapes.nearest import nearest_shape

_BATCH = 16  # examples in the batch whose FLOPs are counted
_AXES = ("data", "fsdp", "tensor", "expert")
_BATCH_AXES = ("data", "fsdp", "expert")
_TOKEN_TRIAL = Trial((2e4, 1e5, 1e6), {"dataset": "stdlib", "seq_len": 32})

Make = Callable[..., Any]


class NoOptions(Settings):
    """The schema of a family without options."""


@dataclass(frozen=True)
class FunctionShape:
    """One size of a family that a function makes.

    Attributes:
        size: The integer given to the function.
        unit: Unit of the data, ``tokens`` or ``examples``.
        units_per_example: Units in one example.
        classes: Vocabulary size, or number of labels.
        features: Name, shape and dtype of each array of an example.
        options: The family's own keys of ``[model]`` and their values.
    """

    size: int
    unit: Any
    units_per_example: int
    classes: int
    features: tuple[tuple[str, tuple[int, ...], str], ...]
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def data(self) -> DataSpec:
        """The parts of the data's spec that an architecture may depend on."""
        return DataSpec(
            name="data",
            unit=self.unit,
            units_per_example=self.units_per_example,
            features={name: Feature(shape, dtype) for name, shape, dtype in self.features},
            classes=self.classes,
            train_examples=1,
            eval_examples=1,
            fingerprint="",
        )


class FunctionFamily(ModelFamily):
    """A model family whose modules a function creates; `family` returns one."""

    def __init__(
        self,
        make: Make,
        name: str,
        *,
        features: Sequence[str],
        title: str,
        rules: Mapping[str, str | tuple[str, ...] | None],
        metrics: Sequence[str],
        trial: Trial | None,
        options: type[Settings],
        counts: Callable[..., Counts] | None,
        flops: Callable[..., float] | None,
        recipe: Callable[..., Recipe] | None,
    ) -> None:
        self.name, self.title = name, title  # type: ignore[misc]  # one class, many families
        self.rules, self.metrics = rules, tuple(metrics)  # type: ignore[misc]
        self.features, self.trial = tuple(features), trial  # type: ignore[misc]
        self._make, self._options = make, options
        self._counts, self._flops, self._recipe = counts, flops, recipe
        self._parameters = inspect.signature(make).parameters
        self._measure = functools.cache(self._measure_uncached)
        self._trace = functools.cache(self._trace_uncached)
        functools.update_wrapper(self, make)

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Calls the function, as if it were not decorated."""
        return self._make(*args, **keywords)

    def shape(self, params: float, options: Mapping[str, Any], data: DataSpec) -> FunctionShape:
        """Finds the size whose module has about the target number of parameters."""
        parsed = parse(self._options, options, where="model")
        require_features(self, data)

        def at(size: int) -> FunctionShape:
            return FunctionShape(
                size=size,
                unit=data.unit,
                units_per_example=data.units_per_example,
                classes=data.classes,
                features=tuple(
                    (name, tuple(feature.shape), feature.dtype)
                    for name, feature in data.features.items()
                ),
                options=tuple(parsed.model_dump().items()),
            )

        return nearest_shape(
            params,
            at,
            lambda shape: self._measure(shape)[0],
            what=f"{self.name} for data {data.name}",
        )

    def counts(self, shape: FunctionShape) -> Counts:
        """Counts the parameters of the abstract module; tables of ``nnx.Embed`` are embeddings."""
        if self._counts is not None:
            return self._counts(shape.size, shape.data, **self._own(shape))
        params, embedding = self._measure(shape)
        return Counts(params=params, params_embedding=embedding, params_active=params)

    def flops_per_unit(self, shape: FunctionShape) -> float:
        """Returns the FLOPs of the traced gradient per unit, or the author's own count."""
        if self._flops is not None:
            return float(self._flops(shape.size, shape.data, **self._own(shape)))
        return self._trace(shape)

    def flops_computed(self, shape: FunctionShape) -> float:
        """Returns the FLOPs of the traced gradient per unit."""
        return self._trace(shape)

    def recipe(self, shape: FunctionShape, units: float, data: DataSpec) -> Recipe:
        """Returns the author's recipe, or the default one."""
        params = self.counts(shape).params
        return (self._recipe or default_recipe)(params, units, data)

    def build(self, shape: FunctionShape, *, rngs: Any, compute: Compute) -> Any:
        """Calls the function; passes ``compute`` if it has a parameter of that name."""
        own = self._own(shape)
        if "compute" in self._parameters:
            own["compute"] = compute
        elif str(getattr(compute.dtype, "dtype", compute.dtype)) != "float32":
            raise ScalaxError(
                f"computes in float32 alone, but the precision is {compute.dtype}",
                where=f"model {self.name!r}",
                fix='write precision = "f32", or give the function a parameter named compute and '
                "use compute.dtype",
            )
        return self._make(shape.size, shape.data, rngs, **own)

    def sums(self, module: Any, batch: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """Calls the module's own ``sums``."""
        sums, weight = module.sums(batch)
        return sums, weight

    def _own(self, shape: FunctionShape) -> dict[str, Any]:
        """Returns the family's own options as a keyword argument, if it has any."""
        if self._options is NoOptions:
            return {}
        return {"options": self._options(**dict(shape.options))}

    def _abstract(self, shape: FunctionShape) -> Any:
        import jax.numpy as jnp
        from flax import nnx

        return nnx.eval_shape(
            lambda: self.build(shape, rngs=nnx.Rngs(0), compute=Compute(jnp.float32))
        )

    def _measure_uncached(self, shape: FunctionShape) -> tuple[int, int]:
        """Counts all parameters and those of embedding tables, without allocating arrays."""
        with self._no_devices():
            import jax
            from flax import nnx

            module = self._abstract(shape)
            params = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))
            tables = [node for _, node in nnx.iter_graph(module) if isinstance(node, nnx.Embed)]
            return params, sum(table.embedding.size for table in tables)

    def _trace_uncached(self, shape: FunctionShape) -> float:
        """Traces the gradient of the loss of a small batch and counts its FLOPs per unit."""
        from scalax.models.traced import traced_flops

        with self._no_devices():
            import jax
            import jax.numpy as jnp
            from flax import nnx

            graph, params, rest = nnx.split(self._abstract(shape), nnx.Param, ...)
            batch = {
                name: jax.ShapeDtypeStruct((_BATCH, *dims), dtype)
                for name, dims, dtype in shape.features
            }
            batch["mask"] = jax.ShapeDtypeStruct((_BATCH,), jnp.float32)

            def loss(params: Any, rest: Any, batch: Any) -> Any:
                return self.sums(nnx.merge(graph, params, rest, copy=True), batch)[0]["loss"]

            flops = traced_flops(jax.grad(loss), params, rest, batch)
        return flops / (_BATCH * shape.units_per_example)

    @contextmanager
    def _no_devices(self) -> Iterator[None]:
        """Sets an abstract mesh, so that counting does not initialise jax's devices."""
        import jax
        from flax import nnx
        from jax.sharding import AbstractMesh, AxisType

        mesh = AbstractMesh((1,) * len(_AXES), _AXES, axis_types=(AxisType.Auto,) * len(_AXES))
        rules = (*self.rules.items(), ("batch", _BATCH_AXES))
        with jax.sharding.use_abstract_mesh(mesh), nnx.logical_axis_rules(rules):
            yield


def family(
    name: str,
    *,
    features: Sequence[str],
    title: str | None = None,
    rules: Mapping[str, str | tuple[str, ...] | None] | None = None,
    metrics: Sequence[str] = ("loss",),
    trial: Trial | None = None,
    options: type[Settings] = NoOptions,
    counts: Callable[..., Counts] | None = None,
    flops: Callable[..., float] | None = None,
    recipe: Callable[[int, float, DataSpec], Recipe] | None = None,
) -> Callable[[Make], FunctionFamily]:
    """Turns a function into a registered model family.

    The function ``make(size, data, rngs)`` returns a ``flax.nnx.Module``. The integer ``size``,
    for example a width, controls the number of parameters: a larger size never has fewer. ``data``
    is a `DataSpec` with the unit, features and classes of the data. The module has a method
    ``sums(batch)``, which returns the metrics summed over the batch, including ``loss``, and their
    total weight; examples with ``batch["mask"]`` 0 do not count. See `ModelFamily.sums`.

    Args:
        name: The name that a user writes.
        features: Features that the data must have, such as ``tokens``.
        title: One line for listings; the first line of the docstring by default.
        rules: Mesh axes by logical axis name, for modules that name the axes of their parameters.
            By default all parameters are replicated.
        metrics: Names of the metrics that ``sums`` returns.
        trial: Data and sizes for `scalax plugins check`. If ``features`` is only ``tokens``, the
            default is the text of Python's standard library.
        options: Schema of the family's own keys of ``[model]``. The function, ``counts`` and
            ``flops`` then take a keyword ``options``.
        counts: ``counts(size, data)`` returns the `Counts`; needed if some parameters are inactive
            or if an embedding is not an ``nnx.Embed``. By default scalax counts the module.
        flops: ``flops(size, data)`` returns training FLOPs per unit; needed if some products of a
            step should not count. By default scalax counts all of them.
        recipe: ``recipe(params, units, data)`` returns the `Recipe`; `default_recipe` by default.

    Returns:
        A decorator. The decorated function is the family, and can still be called as before.

    Raises:
        ScalaxError: The name is taken.
    """

    def decorate(make: Make) -> FunctionFamily:
        lines = (inspect.getdoc(make) or "").strip().splitlines()
        made = FunctionFamily(
            make,
            name,
            features=features,
            title=title or (lines[0].rstrip(".") if lines else name),
            rules=rules or {},
            metrics=metrics,
            trial=trial or (_TOKEN_TRIAL if tuple(features) == ("tokens",) else None),
            options=options,
            counts=counts,
            flops=flops,
            recipe=recipe,
        )
        registry.register_own("model", name, made, make.__module__)
        return made

    return decorate
