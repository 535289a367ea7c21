"""Checks a model family: exact counts, the same loss on any mesh, and that it learns.

All of it happens on the family's own trial: small sizes, on data that is always there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from scalax.conform.interface import says_what_it_is
from scalax.conform.report import Checklist, Line, NotMetError
from scalax.data.base import Example, OpenDataset
from scalax.data.open import open_dataset
from scalax.data.pipeline import eval_batches, train_batches
from scalax.models.base import ModelFamily
from scalax.registry import Entry
from scalax.shapes.base import Recipe, Trial

_BATCH, _SEED = 16, 0
_MESH_STEPS, _MESH_TOLERANCE = 3, 1e-4
_EVAL_EXAMPLES = 64
_FALL = 0.99
_FLOPS_TOLERANCE = 0.01


def check_model(entry: Entry, family: ModelFamily) -> tuple[Line, ...]:
    """Returns the lines of a family's report."""
    checklist = Checklist()
    if checklist.check("says what it is", lambda: _says(entry, family)):
        with _compiled_fast():
            _check_trial(checklist, family)
    return tuple(checklist.lines)


@contextmanager
def _compiled_fast() -> Iterator[None]:
    """Leaves out most of XLA's optimisations: a check compiles five programs to run each a little,
    which halves its time."""
    import jax

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


def _check_trial(checklist: Checklist, family: ModelFamily) -> None:
    trial = family.trial
    assert trial is not None
    options = {k: v for k, v in trial.data.items() if k != "dataset"}
    name = str(trial.data["dataset"])
    if not checklist.check("its trial's data opens", lambda: _opens(name, options)):
        return
    data = open_dataset(name, options)
    if not checklist.check(
        "a size asked for is met within 10 %", lambda: _meets(family, trial, data)
    ):
        return
    checklist.check("its recipe can be used", lambda: _recipes(family, trial, data))
    if not checklist.check("counts are those of the module", lambda: _counts(family, trial, data)):
        return
    bench = _Bench(family, trial, data)
    if not checklist.check("sums add up over examples", bench.sums):
        return
    checklist.check("FLOPs are those of the traced step", bench.flops)
    checklist.check("any mesh gives the same loss", bench.meshes)
    checklist.check("compiles once", bench.compiles_once)
    checklist.check("learns its example", bench.learns)


def _axes(rule: str | tuple[str, ...] | None) -> set[str]:
    return {rule} if isinstance(rule, str) else set(rule or ())


def _says(entry: Entry, family: ModelFamily) -> str:
    from scalax.train.mesh import AXES

    description = says_what_it_is(entry, family, ("title",))
    wrong = {name: axes for name, axes in family.rules.items() if not _axes(axes) <= set(AXES)}
    if wrong:
        raise NotMetError(
            f"rules name mesh axes that are none: {wrong}; there are {', '.join(AXES)}"
        )
    if "loss" not in family.metrics:
        raise NotMetError("metrics leave out loss")
    trial = family.trial
    if trial is None or not trial.params or "dataset" not in trial.data:
        raise NotMetError(
            'states no trial: write trial = sx.Trial([SIZES], {"dataset": NAME}), a dataset that '
            "is always there"
        )
    return description


def _opens(name: str, options: Mapping[str, Any]) -> str:
    spec = open_dataset(name, options).spec
    return f"{name}: {spec.train_examples:,} examples to train on"


def _meets(family: ModelFamily, trial: Trial, data: OpenDataset) -> str:
    worst = 0.0
    for target in trial.params:
        shape = family.shape(target, trial.model, data.spec)
        if shape != family.shape(target, trial.model, data.spec) or hash(shape) is None:
            raise NotMetError(f"asked twice for {target:g} parameters, it gives two shapes")
        counts = family.counts(shape)
        miss = counts.params / target - 1
        if not abs(miss) <= 0.1:
            raise NotMetError(
                f"asked for {target:,.0f} parameters, its shape has {counts.params:,}"
            )
        if not 0 <= counts.params_embedding <= counts.params:
            raise NotMetError(f"{counts.params_embedding:,} of {counts.params:,} are embeddings")
        if not 0 < counts.params_active <= counts.params:
            raise NotMetError(f"{counts.params_active:,} of {counts.params:,} are active")
        worst = max(worst, abs(miss))
    return f"{len(trial.params)} sizes, at most {worst:.1%} off"


def _recipes(family: ModelFamily, trial: Trial, data: OpenDataset) -> str:
    recipes = []
    for target, batches in itertools.product(trial.params, (10, 10_000)):
        shape = family.shape(target, trial.model, data.spec)
        units = float(batches * _BATCH * data.spec.units_per_example)
        recipe = family.recipe(shape, units, data.spec)
        if not (isinstance(recipe, Recipe) and isinstance(recipe.batch, int) and recipe.batch >= 1):
            raise NotMetError(f"expected a Recipe with a batch of 1 or more, got {recipe}")
        if not (math.isfinite(recipe.learning_rate) and recipe.learning_rate > 0):
            raise NotMetError(f"expected a positive learning rate, got {recipe.learning_rate}")
        if recipe.optimizer not in ("adamw", "sgd"):
            raise NotMetError(f"unknown optimizer {recipe.optimizer!r}")
        recipes.append(recipe)
    rates = [recipe.learning_rate for recipe in recipes]
    return f"learning rates {min(rates):.2g} to {max(rates):.2g} over its sizes"


def _counts(family: ModelFamily, trial: Trial, data: OpenDataset) -> str:
    import jax
    from flax import nnx

    for target in trial.params:
        shape = family.shape(target, trial.model, data.spec)
        module = _abstract(family, shape)
        leaves = jax.tree.leaves(nnx.state(module, nnx.Param))
        found, said = sum(leaf.size for leaf in leaves), family.counts(shape).params
        if found != said:
            raise NotMetError(f"counts says {said:,}, the module at {target:g} has {found:,}")
        flops = family.flops_per_unit(shape)
        if not (math.isfinite(flops) and 0 < flops <= family.flops_computed(shape)):
            raise NotMetError(
                f"flops_per_unit says {flops:g}, flops_computed no such count or less"
            )
    return f"{len(trial.params)} sizes, to the last parameter"


def _abstract(family: ModelFamily, shape: Any) -> Any:
    """The module without its values, created on one device as the trainer does."""
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


class _Bench:
    """The smallest member of a trial, and the programs that train it."""

    def __init__(self, family: ModelFamily, trial: Trial, data: OpenDataset) -> None:
        self._family, self._trial, self._data = family, trial, data
        self._shape = family.shape(min(trial.params), trial.model, data.spec)
        units = float(trial.steps * _BATCH * data.spec.units_per_example)
        recipe = family.recipe(self._shape, units, data.spec)
        self._recipe = replace(recipe, batch=_BATCH)
        self._alone = self._program({"data": 1})
        self._batches: list[Example] = list(
            itertools.islice(
                train_batches(data.source("train"), batch=_BATCH, seed=_SEED, start=0), trial.steps
            )
        )

    def sums(self) -> str:
        """What the mask leaves out changes nothing; all metrics are there and finite."""
        state = self._alone.init(_SEED)
        batch, other = self._batches[0], self._batches[-1]
        kept = np.arange(_BATCH) < _BATCH // 2
        mixed = {
            name: np.where(kept.reshape(-1, *[1] * (values.ndim - 1)), values, other[name])
            for name, values in batch.items()
        }
        mask = {"mask": kept.astype(np.float32)}
        one, weight = self._sums(state, {**batch, **mask})
        two, _ = self._sums(state, {**mixed, **mask})
        if not (weight > 0 and all(map(math.isfinite, one.values()))):
            raise NotMetError(
                f"expected finite sums over a positive weight, got {one} over {weight:g}"
            )
        for name, value in one.items():
            if not math.isclose(value, two[name], rel_tol=1e-4, abs_tol=1e-5):
                raise NotMetError(
                    f"examples of mask 0 change {name} from {value:.6g} to {two[name]:.6g}"
                )
        whole, full = self._sums(state, batch)
        means = {name: value / full for name, value in whole.items()}
        return ", ".join(f"{name} {value:.4g}" for name, value in means.items()) + " untrained"

    def flops(self) -> str:
        """The gradient of a batch's loss, traced and counted."""
        import jax
        from flax import nnx

        from scalax.models.traced import traced_flops

        graph, params, rest = nnx.split(_abstract(self._family, self._shape), nnx.Param, ...)
        batch = self._batches[0]

        def loss(params: Any, rest: Any) -> Any:
            return self._family.sums(nnx.merge(graph, params, rest), batch)[0]["loss"]

        traced = traced_flops(jax.grad(loss), params, rest)
        per_unit = traced / (_BATCH * self._data.spec.units_per_example)
        said, counted = (
            self._family.flops_computed(self._shape),
            self._family.flops_per_unit(self._shape),
        )
        if not abs(per_unit / said - 1) <= _FLOPS_TOLERANCE:
            raise NotMetError(
                f"a traced step computes {per_unit:,.0f} per {self._data.spec.unit[:-1]}, "
                f"flops_computed says {said:,.0f}"
            )
        spared = "" if counted == said else f", {1 - counted / said:.1%} of them not counted"
        return f"{per_unit:,.0f} traced, {said:,.0f} said{spared}"

    def meshes(self) -> str:
        """Every axis that the family divides over, with two devices, against one device."""
        import jax

        if len(jax.devices()) < 2:
            raise NotMetError("one device is too few to tell: set JAX_NUM_CPU_DEVICES=2")
        divided = [axis for rule in self._family.rules.values() for axis in sorted(_axes(rule))]
        used = dict.fromkeys(["data", *divided])
        meshes = [{axis: 2} for axis in used]
        if len(jax.devices()) >= 4 and len(meshes) > 1:
            meshes.append(dict.fromkeys(list(used)[-2:], 2))
        alone = self._losses(self._alone)
        worst = 0.0
        for mesh in meshes:
            apart = np.abs(np.asarray(self._losses(self._program(mesh))) / alone - 1).max()
            if not apart <= _MESH_TOLERANCE:
                raise NotMetError(
                    f"on {mesh} the loss of one of {_MESH_STEPS} steps is {apart:.1e} off"
                )
            worst = max(worst, float(apart))
        names = ", ".join("x".join(mesh) for mesh in meshes)
        return f"{names}: {_MESH_STEPS} steps, to {worst:.0e} of the loss"

    def compiles_once(self) -> str:
        """After two steps, no further one traces or compiles anything."""
        from scalax.train.compile_time import COMPILE_TIME

        state = self._alone.init(_SEED)
        schedule = self._schedule()
        for done, batch in enumerate(self._batches[:6]):
            if done == 2:
                COMPILE_TIME.take()
            state, _ = self._alone.step(state, self._alone.place(batch), schedule)
        again = COMPILE_TIME.take()
        if again:
            raise NotMetError(f"steps 3 to 6 traced or compiled again, {again:.2f} s of it")
        return "6 steps, one program"

    def learns(self) -> str:
        """Held-out loss before and after the trial's steps."""
        state = self._alone.init(_SEED)
        before = self._score(state)
        for batch in self._batches:
            state, metrics = self._alone.step(state, self._alone.place(batch), self._schedule())
        after = self._score(state)
        if not math.isfinite(float(metrics["loss"])):
            raise NotMetError(
                f"training loss {float(metrics['loss'])} after {len(self._batches)} steps"
            )
        said = f"held-out loss {before:.4g} to {after:.4g} in {len(self._batches)} steps"
        if not after <= _FALL * before:
            raise NotMetError(f"{said}: fix the recipe, or give its trial more steps")
        return said

    def _score(self, state: Any) -> float:
        total = weight = 0.0
        held_out = self._data.source("eval")
        for batch in eval_batches(held_out, batch=_BATCH, examples=_EVAL_EXAMPLES):
            sums, over = self._sums(state, batch)
            total, weight = total + sums["loss"], weight + over
        return total / weight

    def _sums(self, state: Any, batch: Example) -> tuple[dict[str, float], float]:
        """Of the one run that is trained."""
        sums, weight = self._alone.score(state, batch)
        return {name: float(value[0]) for name, value in sums.items()}, float(weight[0])

    def _program(self, mesh: Mapping[str, int]) -> Any:
        from scalax.train.mesh import make_mesh
        from scalax.train.program import Program

        return Program(self._family, self._shape, self._recipe, "f32", make_mesh(mesh, _BATCH))

    def _losses(self, program: Any) -> list[float]:
        """Training losses from the one device's first state, laid over the program's mesh."""
        import jax

        places = jax.tree.map(lambda leaf: leaf.sharding, program.abstract())
        state, found = jax.device_put(self._alone.init(_SEED), places), []
        for batch in self._batches[:_MESH_STEPS]:
            state, metrics = program.step(state, program.place(batch), self._schedule())
            found.append(float(metrics["loss"]))
        return found

    def _schedule(self) -> dict[str, Any]:
        """A short warm-up, then constant."""
        steps = self._trial.steps
        values = {
            "peak": self._recipe.learning_rate,
            "warmup": steps // 10,
            "decay_start": steps,
            "steps": steps,
            "cosine": 0,
        }
        return {name: np.float32(value) for name, value in values.items()}
