"""Compiles the train step and the eval step of `scalax.train.step` over a mesh.

The state is sharded from its creation. This module has no files, no clock and no loop.
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

from scalax.array_types import Float, Int
from scalax.models.base import ModelFamily, check_counts
from scalax.models.compute import Compute, Recompute
from scalax.shapes.base import Recipe
from scalax.train import spikes
from scalax.train.mesh import (
    BATCH_AXES,
    ENSEMBLE,
    batch_sharding,
    ensemble_sharding,
    replicate_indivisible,
    serial_calls,
)
from scalax.train.optimizer import make_optimizer
from scalax.train.place import put, rows_here
from scalax.train.schedule import Schedule
from scalax.train.step import TrainState, eval_step, train_step

_DTYPES = {"f32": jnp.float32, "bf16": jnp.bfloat16}


class EvalSums(NamedTuple):
    """Metrics of a held-out batch, summed over its tokens (or examples).

    Attributes:
        sums: The sum of each metric.
        weight: What to divide the sums by.
    """

    sums: dict[str, Float[np.ndarray, " runs"]]
    weight: Float[np.ndarray, " runs"]


@dataclass(eq=False)
class Program:
    """One architecture, recipe and mesh. Its steps are compiled on first use.

    Attributes:
        family: The model family.
        shape: The architecture.
        recipe: Hyperparameters. Only those of the optimiser are compiled in.
        precision: ``f32`` or ``bf16``.
        mesh: Devices.
        skip_spikes: Deviations of the log gradient norm above which a batch is skipped.
        recompute: What the backward pass recomputes: see `scalax.models.compute.Compute`.
        accumulate: Number of parts of a batch, computed one after another, gradients summed.
        members: Number of runs trained together, on a mesh of `ensemble_mesh`. Every array of the
            state, the schedule and the metrics then has a leading axis of runs. None for one run.
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
            history = () if self.skip_spikes is None else spikes.empty_history()
            moments = optimizer.init(params)
            return TrainState(params, rest, moments, jnp.zeros((), jnp.int32), history)

        with self._within():
            module = nnx.eval_shape(
                lambda: self.family.build(self.shape, rngs=nnx.Rngs(0), compute=compute)
            )
            graph, abstract, _ = nnx.split(module, nnx.Param, ...)
            sizes = [leaf.size for leaf in jax.tree.leaves(abstract)]
            check_counts(self.family, self.shape, sum(sizes))
            optimizer = make_optimizer(self.recipe, abstract)
            shardings_of_params = jax.tree.map(
                lambda sharding, leaf: replicate_indivisible(sharding, leaf.shape),
                nnx.get_named_sharding(abstract, self.mesh),
                abstract,
            )
            abstract_state = jax.eval_shape(create, 0)
        # Outside the mesh, whose devices may be absent: Optax creates an array to map its state.
        shardings = _state_shardings(optimizer, shardings_of_params, abstract_state, self.mesh)
        metrics_sharding = replicated = NamedSharding(self.mesh, PartitionSpec())
        if self.members is not None:
            shardings = jax.tree.map(ensemble_sharding, shardings)
            if jax.process_count() == 1:  # this process sees all metrics
                metrics_sharding = ensemble_sharding(replicated)
        step = partial(train_step, self.family, graph, optimizer, self.accumulate, self.skip_spikes)
        score = self._over_runs(partial(eval_step, self.family, graph), in_axes=(0, 0, None))
        self._graph, self._shardings = graph, shardings
        self._create = jax.jit(self._over_runs(create), out_shardings=shardings)
        out = (shardings, metrics_sharding)
        self._step = jax.jit(self._over_runs(step), donate_argnums=0, out_shardings=out)
        self._score = jax.jit(score, out_shardings=replicated)
        self._take = jax.jit(_take_member, out_shardings=replicated)

    def _over_runs(self, function: Callable[..., Any], in_axes: Any = 0) -> Callable[..., Any]:
        """Maps a function of one run over the members of an ensemble."""
        if self.members is None:
            return function
        return jax.vmap(function, in_axes=in_axes, spmd_axis_name=ENSEMBLE)

    @cached_property
    def rows(self) -> Int[np.ndarray, " rows"]:
        """The rows of each batch that this process must read; all rows in a single process."""
        return rows_here(batch_sharding(self.mesh), self.recipe.batch)

    @cached_property
    def members_here(self) -> Int[np.ndarray, " members"]:
        """The members whose batches this process must read."""
        return rows_here(NamedSharding(self.mesh, PartitionSpec(ENSEMBLE)), self.members or 1)

    def init(self, seed: int | Sequence[int]) -> TrainState:
        """Returns the initial state, sharded from its creation, from one seed per run."""
        with self._within():
            return jax.block_until_ready(self._create(np.asarray(seed, np.uint32)))

    def member(self, state: TrainState, index: int) -> TrainState:
        """Returns the state of one run of an ensemble, replicated on every device."""
        with self._within():
            return jax.block_until_ready(self._take(state, np.int32(index)))

    def done(self, state: TrainState) -> int:
        """Returns the number of completed steps."""
        return int(np.ravel(state.step.addressable_data(0))[0])

    def abstract(self) -> TrainState:
        """Returns shapes, dtypes and shardings of a state, for a checkpoint to restore into."""
        seeds = np.zeros(() if self.members is None else self.members, np.uint32)
        with self._within():
            shapes = jax.eval_shape(self._create, seeds)
        return jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            shapes,
            self._shardings,
        )

    def place(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        """Starts to move a batch to the devices. Any thread may call this.

        Args:
            batch: Features of `rows`: ``[rows, ...]``, or ``[members_here, rows, ...]``.
        """
        if self.members is None:
            return self._place_one(batch)
        sharding = ensemble_sharding(batch_sharding(self.mesh))
        return {
            name: put(sharding, self.members, self.members_here, values)
            for name, values in batch.items()
        }

    def _place_one(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        sharding, count = batch_sharding(self.mesh), self.recipe.batch
        return {name: put(sharding, count, self.rows, values) for name, values in batch.items()}

    def step(
        self, state: TrainState, batch: Mapping[str, jax.Array], schedule: Schedule
    ) -> tuple[TrainState, dict[str, Float[jax.Array, "*runs"]]]:
        """Takes one optimiser step.

        Args:
            state: Current state; its arrays are donated.
            batch: Result of `place`.
            schedule: Values of `scalax.train.schedule.schedule_values`.

        Returns:
            The next state, and the metrics of `scalax.train.step.train_step`, on the devices.
        """
        with self._within():
            out = self._step(state, batch, schedule)
            return jax.block_until_ready(out) if serial_calls(self.mesh) else out

    def score(self, state: TrainState, batch: Mapping[str, np.ndarray]) -> EvalSums:
        """Evaluates a held-out batch, features ``[rows, ...]``; a single run counts as ``[1]``."""
        with self._within():
            placed = self._place_one(batch)
            sums, weight = jax.device_get(self._score(state.params, state.rest, placed))
        if self.members is None:
            sums, weight = {name: np.array([v]) for name, v in sums.items()}, np.array([weight])
        return EvalSums(sums, weight)

    def lower_step(self, batch: Mapping[str, Any], schedule: Schedule) -> Any:
        """Lowers the train step for abstract arguments, to inspect it or compile it elsewhere."""
        with self._within():
            return self._step.lower(self.abstract(), batch, schedule)

    @contextlib.contextmanager
    def _within(self) -> Iterator[None]:
        """Enters the mesh and the family's logical axis rules, which creating parameters needs."""
        rules = (*self.family.rules.items(), ("batch", BATCH_AXES))
        with jax.set_mesh(self.mesh), nnx.logical_axis_rules(rules):
            yield


def _take_member(state: TrainState, index: Int[jax.Array, ""]) -> TrainState:
    return jax.tree.map(lambda leaf: leaf[index], state)


def _state_shardings(
    optimizer: optax.GradientTransformation, params: Any, shapes: TrainState, mesh: Mesh
) -> TrainState:
    """Returns the sharding of a state: moments as their parameters, all else replicated."""
    replicated = NamedSharding(mesh, PartitionSpec())
    rest = jax.tree.map(lambda _: replicated, shapes.rest)
    moments = optax.tree_map_params(
        optimizer,
        lambda leaf, sharding: sharding,
        shapes.optimizer,
        params,
        transform_non_params=lambda _: replicated,
    )
    history = jax.tree.map(lambda _: replicated, shapes.history)
    return TrainState(params, rest, moments, replicated, history)
