"""The compiled side of training: sharded state from creation, the train step, the eval step.

Pure functions under `jit` over one mesh. No files, no clock, no loop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from scalax.models.base import ModelFamily, checked_sums, demand_counts
from scalax.models.compute import Compute, Recompute
from scalax.shapes.base import Recipe
from scalax.train import spikes
from scalax.train.mesh import (
    BATCH_AXES,
    ENSEMBLE,
    batch_sharding,
    of_each,
    serial_calls,
    where_it_divides,
)
from scalax.train.optimizer import make_optimizer
from scalax.train.place import put, rows_here
from scalax.train.schedule import Schedule, learning_rate

_DTYPES = {"f32": jnp.float32, "bf16": jnp.bfloat16}


class TrainState(NamedTuple):
    """What a step changes, and a checkpoint holds.

    Attributes:
        params: Float32 parameters, an ``nnx.State``.
        rest: What else the module keeps, such as running statistics, an ``nnx.State``.
        optimizer: Optax state.
        step: Steps done, int32.
        history: Of the gradient norm, where spikes are skipped; else empty.
    """

    params: Any
    rest: Any
    optimizer: Any
    step: Any
    history: Any = ()


@dataclass(frozen=True, eq=False)
class Program:
    """One architecture, recipe and mesh, compiled on first use.

    Attributes:
        family: The model family.
        shape: The architecture.
        recipe: Hyperparameters; only the optimiser's part is compiled in.
        precision: ``f32`` or ``bf16``.
        mesh: Where it runs.
        skip_spikes: Deviations of the log gradient norm beyond which a batch is skipped.
        recompute: What the backward pass computes again: see `scalax.models.compute.Compute`.
        accumulate: Parts that a batch is computed in, one after another, their gradients summed.
        members: Runs trained together, on a mesh of `ensemble_mesh`: every array of the state, of
            the schedule and of what a step tells has a leading axis of runs. None for one alone.
    """

    family: ModelFamily
    shape: Any
    recipe: Recipe
    precision: str
    mesh: Mesh
    skip_spikes: float | None = None
    recompute: Recompute = "none"
    accumulate: int = 1
    members: int | None = None
    _graph: Any = field(init=False, repr=False)
    _shardings: TrainState = field(init=False, repr=False)
    _create: Any = field(init=False, repr=False)
    _step: Any = field(init=False, repr=False)
    _score: Any = field(init=False, repr=False)
    _take: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        compute = Compute(_DTYPES[self.precision], self.recompute)

        def create(seed: Any) -> TrainState:
            rngs = nnx.Rngs(jax.random.key(seed))
            module = self.family.build(self.shape, rngs=rngs, compute=compute)
            params, rest = nnx.state(module, nnx.Param, ...)
            history = () if self.skip_spikes is None else spikes.fresh()
            moments = optimizer.init(params)
            return TrainState(params, rest, moments, jnp.zeros((), jnp.int32), history)

        with self._within():
            module = nnx.eval_shape(
                lambda: self.family.build(self.shape, rngs=nnx.Rngs(0), compute=compute)
            )
            graph, abstract, _ = nnx.split(module, nnx.Param, ...)
            sizes = [leaf.size for leaf in jax.tree.leaves(abstract)]
            demand_counts(self.family, self.shape, sum(sizes))
            optimizer = make_optimizer(self.recipe, abstract)
            placed = jax.tree.map(
                lambda place, leaf: where_it_divides(place, leaf.shape),
                nnx.get_named_sharding(abstract, self.mesh),
                abstract,
            )
            abstract_state = jax.eval_shape(create, 0)
        # Outside the mesh, whose devices may not be here: Optax makes an array to map its state.
        shardings = _state_shardings(optimizer, placed, abstract_state, self.mesh)
        told = replicated = NamedSharding(self.mesh, PartitionSpec())
        if self.members is not None:
            shardings = jax.tree.map(of_each, shardings)
            if jax.process_count() == 1:  # then all is at hand, and no run waits for another
                told = of_each(replicated)
        step = partial(
            _train_step, self.family, graph, optimizer, self.accumulate, self.skip_spikes
        )
        score = self._each(partial(_score_batch, self.family, graph), in_axes=(0, 0, None))
        assign = partial(object.__setattr__, self)
        assign("_graph", graph)
        assign("_shardings", shardings)
        assign("_create", jax.jit(self._each(create), out_shardings=shardings))
        out = (shardings, told)
        assign("_step", jax.jit(self._each(step), donate_argnums=0, out_shardings=out))
        assign("_score", jax.jit(score, out_shardings=replicated))
        assign("_take", jax.jit(_take_member, out_shardings=replicated))

    def _each(self, do: Callable[..., Any], in_axes: Any = 0) -> Callable[..., Any]:
        """What is done for one run, done for each member of an ensemble."""
        if self.members is None:
            return do
        return jax.vmap(do, in_axes=in_axes, spmd_axis_name=ENSEMBLE)

    @cached_property
    def rows(self) -> np.ndarray:
        """The rows of each batch that this process must give; all of them on a lone one."""
        return rows_here(batch_sharding(self.mesh), self.recipe.batch)

    @cached_property
    def members_here(self) -> np.ndarray:
        """The members whose batches this process must give."""
        return rows_here(NamedSharding(self.mesh, PartitionSpec(ENSEMBLE)), self.members or 1)

    def init(self, seed: int | Sequence[int]) -> TrainState:
        """A fresh state, sharded from creation; of an ensemble, from a seed for each member."""
        with self._within():
            return jax.block_until_ready(self._create(np.asarray(seed, np.uint32)))

    def member(self, state: TrainState, index: int) -> TrainState:
        """One run's state out of an ensemble's, whole on every device."""
        with self._within():
            return jax.block_until_ready(self._take(state, np.int32(index)))

    def done(self, state: TrainState) -> int:
        """Steps done."""
        return int(np.ravel(state.step.addressable_data(0))[0])

    def abstract(self) -> TrainState:
        """Shapes, dtypes and shardings of a state, to restore one into."""
        seeds = np.zeros(() if self.members is None else self.members, np.uint32)
        with self._within():
            shapes = jax.eval_shape(self._create, seeds)
        return jax.tree.map(
            lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
            shapes,
            self._shardings,
        )

    def place(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        """Begins to move `rows` of a batch to the devices; any thread may.

        Args:
            batch: Features [rows, ...]; of an ensemble, [members_here, rows, ...].
        """
        if self.members is None:
            return self._place_one(batch)
        place = of_each(batch_sharding(self.mesh))
        return {
            name: put(place, self.members, self.members_here, values)
            for name, values in batch.items()
        }

    def _place_one(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        place, count = batch_sharding(self.mesh), self.recipe.batch
        return {name: put(place, count, self.rows, values) for name, values in batch.items()}

    def step(
        self, state: TrainState, batch: Mapping[str, jax.Array], schedule: Schedule
    ) -> tuple[TrainState, dict[str, Any]]:
        """One optimiser step on a batch that `place` gave; the state given is consumed.

        Returns:
            The new state, and ``loss``, ``grad_norm`` and ``learning_rate`` on the device.
        """
        with self._within():
            out = self._step(state, batch, schedule)
            return jax.block_until_ready(out) if serial_calls(self.mesh) else out

    def score(
        self, state: TrainState, batch: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Sums of a held-out batch's metrics and the weight they are over, [runs] each."""
        with self._within():
            placed = self._place_one(batch)
            sums, weight = jax.device_get(self._score(state.params, state.rest, placed))
        alone = self.members is None
        each = {name: np.array([v]) if alone else v for name, v in sums.items()}
        return each, np.array([weight]) if alone else weight

    def lower_step(self, batch: Mapping[str, Any], schedule: Schedule) -> Any:
        """The train step lowered for abstract arguments, to inspect or compile elsewhere."""
        with self._within():
            return self._step.lower(self.abstract(), batch, schedule)

    @contextlib.contextmanager
    def _within(self) -> Iterator[None]:
        """The mesh and the family's axis names, as creating parameters needs them."""
        rules = (*self.family.rules.items(), ("batch", BATCH_AXES))
        with jax.set_mesh(self.mesh), nnx.logical_axis_rules(rules):
            yield


def _train_step(
    family: ModelFamily,
    graph: Any,
    optimizer: optax.GradientTransformation,
    accumulate: int,
    skip_spikes: float | None,
    state: TrainState,
    batch: Mapping[str, jax.Array],
    schedule: Schedule,
) -> tuple[TrainState, dict[str, jax.Array]]:
    loss, gradient, rest = _mean_gradient(family, graph, accumulate, state, batch)
    updates, moments = optimizer.update(gradient, state.optimizer, state.params)
    rate = learning_rate(schedule, state.step)
    params = jax.tree.map(lambda p, u: p - rate * u, state.params, updates)
    told = {"loss": loss, "grad_norm": optax.tree.norm(gradient), "learning_rate": rate}
    after = TrainState(params, rest, moments, state.step + 1, state.history)
    if skip_spikes is None:
        return after, told
    spike, history = spikes.judge(state.history, told["grad_norm"], skip_spikes)
    after = jax.tree.map(lambda new, old: jnp.where(spike, old, new), after, state)
    told["skipped"] = history.skipped
    return after._replace(step=state.step + 1, history=history), told


def _mean_gradient(
    family: ModelFamily,
    graph: Any,
    accumulate: int,
    state: TrainState,
    batch: Mapping[str, jax.Array],
) -> tuple[jax.Array, Any, Any]:
    """The mean loss of a batch, its gradient, and what else the module keeps."""

    def summed(params: Any, rest: Any, part: Any) -> tuple[jax.Array, tuple[jax.Array, Any]]:
        module = nnx.merge(graph, params, rest)
        sums, weight = checked_sums(family, module, part)
        return sums["loss"], (weight, nnx.state(module, nnx.Not(nnx.Param)))

    def one(rest: Any, part: Any) -> tuple[Any, Any]:
        (total, (weight, rest)), gradient = jax.value_and_grad(summed, has_aux=True)(
            state.params, rest, part
        )
        return rest, (total, weight, gradient)

    if accumulate == 1:
        rest, found = one(state.rest, batch)
    else:

        def add(carry: tuple[Any, Any], part: Any) -> tuple[tuple[Any, Any], None]:
            rest, found = one(carry[0], part)
            return (rest, jax.tree.map(jnp.add, carry[1], found)), None

        zero = jnp.zeros((), jnp.float32)
        empty = (zero, zero, jax.tree.map(jnp.zeros_like, state.params))
        (rest, found), _ = jax.lax.scan(add, (state.rest, empty), _parts(batch, accumulate))
    total, weight, gradient = found
    return total / weight, jax.tree.map(lambda g: g / weight, gradient), rest


def _parts(batch: Mapping[str, jax.Array], count: int) -> dict[str, jax.Array]:
    """The batch in parts [count, batch / count, ...], each device's examples staying with it."""
    return {
        name: jnp.swapaxes(leaf.reshape(leaf.shape[0] // count, count, *leaf.shape[1:]), 0, 1)
        for name, leaf in batch.items()
    }


def _score_batch(
    family: ModelFamily, graph: Any, params: Any, rest: Any, batch: Mapping[str, jax.Array]
) -> tuple[dict[str, jax.Array], jax.Array]:
    module = nnx.merge(graph, params, rest)
    module.eval()
    return checked_sums(family, module, batch)


def _take_member(state: TrainState, index: jax.Array) -> TrainState:
    return jax.tree.map(lambda leaf: leaf[index], state)


def _state_shardings(
    optimizer: optax.GradientTransformation, params: Any, shapes: TrainState, mesh: Mesh
) -> TrainState:
    """Optimiser moments lie as the parameters they belong to; the rest is on every device."""
    whole = NamedSharding(mesh, PartitionSpec())
    rest = jax.tree.map(lambda _: whole, shapes.rest)
    moments = optax.tree_map_params(
        optimizer,
        lambda leaf, place: place,
        shapes.optimizer,
        params,
        transform_non_params=lambda _: whole,
    )
    history = jax.tree.map(lambda _: whole, shapes.history)
    return TrainState(params, rest, moments, whole, history)
