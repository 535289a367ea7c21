"""Checks a model family's metrics, FLOPs and training steps on the smallest size of its trial."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from scalax.conform.report import CheckFailedError
from scalax.data.base import Example, OpenDataset
from scalax.data.pipeline import eval_batches, train_batches
from scalax.models.base import ModelFamily
from scalax.shapes.base import Trial

BATCH = 16
_SEED = 0
_MESH_STEPS, _MESH_TOLERANCE = 3, 1e-4
_EVAL_EXAMPLES = 64
_FALL = 0.99
_FLOPS_TOLERANCE = 0.01


def mesh_axes(rule: str | tuple[str, ...] | None) -> set[str]:
    """Returns the mesh axes of one entry of a family's ``rules``."""
    return {rule} if isinstance(rule, str) else set(rule or ())


def abstract_module(family: ModelFamily, shape: Any) -> Any:
    """Builds the module without allocating values, on a mesh of one device as in training."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from scalax.models.compute import Compute
    from scalax.train.mesh import BATCH_AXES, make_mesh

    rules = (*family.rules.items(), ("batch", BATCH_AXES))
    mesh = make_mesh({"data": 1}, 1)
    with jax.set_mesh(mesh), nnx.logical_axis_rules(rules):
        return nnx.eval_shape(
            lambda: family.build(shape, rngs=nnx.Rngs(0), compute=Compute(jnp.float32))
        )


class TrainingChecks:
    """Checks that train or trace the smallest size of a trial; a method for each line.

    Args:
        family: The family.
        trial: Its trial.
        data: The trial's dataset.
    """

    def __init__(self, family: ModelFamily, trial: Trial, data: OpenDataset) -> None:
        self._family, self._trial, self._data = family, trial, data
        self._shape = family.shape(min(trial.params), trial.model, data.spec)
        units = float(trial.steps * BATCH * data.spec.units_per_example)
        self._recipe = replace(family.recipe(self._shape, units, data.spec), batch=BATCH)
        self._one_device = self._program({"data": 1})
        batches = train_batches(data.source("train"), batch=BATCH, seed=_SEED, start=0)
        self._batches: list[Example] = list(itertools.islice(batches, trial.steps))

    def sums(self) -> str:
        """Checks that metrics are finite and that masked examples do not change them."""
        state = self._one_device.init(_SEED)
        batch, other = self._batches[0], self._batches[-1]
        unmasked = np.arange(BATCH) < BATCH // 2
        replaced = {
            name: np.where(unmasked.reshape(-1, *[1] * (values.ndim - 1)), values, other[name])
            for name, values in batch.items()
        }
        mask = {"mask": unmasked.astype(np.float32)}
        sums, weight = self._sums(state, {**batch, **mask})
        changed, _ = self._sums(state, {**replaced, **mask})
        if not (weight > 0 and all(map(math.isfinite, sums.values()))):
            raise CheckFailedError(
                f"expected finite sums and a positive weight, got {sums} and weight {weight:g}",
                fix="correct sums, or the initial values of the module",
            )
        for name, value in sums.items():
            if not math.isclose(value, changed[name], rel_tol=1e-4, abs_tol=1e-5):
                raise CheckFailedError(
                    f"examples with mask 0 change {name} from {value:.6g} to {changed[name]:.6g}",
                    fix="weight each example by batch['mask'], and compute each from its own "
                    "features only",
                )
        totals, total_weight = self._sums(state, batch)
        means = ", ".join(f"{name} {value / total_weight:.4g}" for name, value in totals.items())
        return f"before training: {means}"

    def flops(self) -> str:
        """Compares ``flops_computed`` with the traced gradient of a batch's loss."""
        import jax
        from flax import nnx

        from scalax.models.traced import traced_flops

        graph, params, rest = nnx.split(abstract_module(self._family, self._shape), nnx.Param, ...)
        batch = self._batches[0]

        def loss(params: Any, rest: Any) -> Any:
            return self._family.sums(nnx.merge(graph, params, rest), batch)[0]["loss"]

        spec = self._data.spec
        traced = traced_flops(jax.grad(loss), params, rest) / (BATCH * spec.units_per_example)
        computed = self._family.flops_computed(self._shape)
        counted = self._family.flops_per_unit(self._shape)
        if not abs(traced / computed - 1) <= _FLOPS_TOLERANCE:
            raise CheckFailedError(
                f"expected {traced:,.0f} FLOPs per {spec.unit[:-1]} as in the traced step, within "
                f"1 %, flops_computed returns {computed:,.0f}",
                fix="count each matrix product, forward and backward, in flops_per_unit (or in "
                "flops_computed, where some should not count)",
            )
        omitted = f"; flops_per_unit omits {1 - counted / computed:.1%}"
        return (
            f"{traced:,.0f} traced, {computed:,.0f} stated{'' if counted == computed else omitted}"
        )

    def meshes(self) -> str:
        """Compares losses on two devices, along each mesh axis in use, with those on one."""
        import jax

        if len(jax.devices()) < 2:
            raise CheckFailedError(
                "expected two devices or more, got one", fix="set JAX_NUM_CPU_DEVICES=4"
            )
        sharded = [axis for rule in self._family.rules.values() for axis in sorted(mesh_axes(rule))]
        axes = list(dict.fromkeys(["data", *sharded]))
        meshes = [{axis: 2} for axis in axes]
        if len(jax.devices()) >= 4 and len(axes) > 1:
            meshes.append(dict.fromkeys(axes[-2:], 2))
        expected = np.asarray(self._losses(self._one_device))
        worst = 0.0
        for mesh in meshes:
            losses = np.asarray(self._losses(self._program(mesh)))
            difference = float(np.abs(losses / expected - 1).max())
            if not difference <= _MESH_TOLERANCE:
                raise CheckFailedError(
                    f"on mesh {mesh} the loss differs by {difference:.1e} from that on one device "
                    f"in {_MESH_STEPS} steps (expected at most {_MESH_TOLERANCE:g})",
                    fix="sum over the whole batch, and use no device count or index in the module",
                )
            worst = max(worst, difference)
        names = ", ".join("x".join(mesh) for mesh in meshes)
        return f"{names}: {_MESH_STEPS} steps, relative difference at most {worst:.0e}"

    def compiles_once(self) -> str:
        """Checks that nothing is traced or compiled after the second step."""
        from scalax.train.compile_time import COMPILE_TIME

        state = self._one_device.init(_SEED)
        schedule = self._schedule()
        for done, batch in enumerate(self._batches[:6]):
            if done == 2:
                COMPILE_TIME.take()
            state, _ = self._one_device.step(state, self._one_device.place(batch), schedule)
        seconds = COMPILE_TIME.take()
        if seconds:
            raise CheckFailedError(
                f"expected no compilation after step 2, got {seconds:.2f} s of it in steps 3 to 6",
                fix="keep shapes, dtypes and Python values in the module the same in all steps",
            )
        return "6 steps, one program"

    def learns(self) -> str:
        """Compares the held-out loss before and after the trial's steps."""
        state = self._one_device.init(_SEED)
        before = self._held_out_loss(state)
        for batch in self._batches:
            placed = self._one_device.place(batch)
            state, metrics = self._one_device.step(state, placed, self._schedule())
        after = self._held_out_loss(state)
        steps, training_loss = len(self._batches), float(metrics["loss"])
        if not math.isfinite(training_loss):
            raise CheckFailedError(
                f"expected a finite training loss, got {training_loss} after {steps} steps",
                fix="lower the learning rate in recipe, or correct the module",
            )
        if not after <= _FALL * before:
            raise CheckFailedError(
                f"expected the held-out loss to fall by 1 % or more, got {before:.4g} to "
                f"{after:.4g} in {steps} steps",
                fix="correct recipe, or give trial more steps",
            )
        return f"held-out loss from {before:.4g} to {after:.4g} in {steps} steps"

    def _held_out_loss(self, state: Any) -> float:
        total = total_weight = 0.0
        held_out = self._data.source("eval")
        for batch in eval_batches(held_out, batch=BATCH, examples=_EVAL_EXAMPLES):
            sums, weight = self._sums(state, batch)
            total, total_weight = total + sums["loss"], total_weight + weight
        return total / total_weight

    def _sums(self, state: Any, batch: Example) -> tuple[dict[str, float], float]:
        """Returns the metrics and the weight of a batch; the program's ensemble has one run."""
        sums, weight = self._one_device.score(state, batch)
        return {name: float(value[0]) for name, value in sums.items()}, float(weight[0])

    def _program(self, mesh: Mapping[str, int]) -> Any:
        from scalax.train.mesh import make_mesh
        from scalax.train.program import Program

        return Program(self._family, self._shape, self._recipe, "f32", make_mesh(mesh, BATCH))

    def _losses(self, program: Any) -> list[float]:
        """Returns training losses on a program's mesh, from the initial state of one device."""
        import jax

        shardings = jax.tree.map(lambda leaf: leaf.sharding, program.abstract())
        state, losses = jax.device_put(self._one_device.init(_SEED), shardings), []
        for batch in self._batches[:_MESH_STEPS]:
            state, metrics = program.step(state, program.place(batch), self._schedule())
            losses.append(float(metrics["loss"]))
        return losses

    def _schedule(self) -> dict[str, Any]:
        """Returns a schedule with a short warm-up, then a constant learning rate."""
        steps = self._trial.steps
        values = {
            "peak": self._recipe.learning_rate,
            "warmup": steps // 10,
            "decay_start": steps,
            "steps": steps,
            "cosine": 0,
        }
        return {name: np.float32(value) for name, value in values.items()}
