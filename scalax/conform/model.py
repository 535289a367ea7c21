"""Checks a model family: its shapes, recipe and parameter counts; `training` checks its steps.

The family's own ``trial`` gives the sizes and the data.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from scalax.conform.interface import check_attributes
from scalax.conform.report import CheckFailedError, Checklist, Line
from scalax.conform.training import BATCH, TrainingChecks, abstract_module, mesh_axes
from scalax.data.base import OpenDataset
from scalax.data.open import open_dataset
from scalax.models.base import ModelFamily
from scalax.registry import Entry
from scalax.shapes.base import Recipe, Trial

_OPTIMIZERS = ("adamw", "sgd")
_SIZE_TOLERANCE = 0.1


def check_model(entry: Entry, family: ModelFamily) -> tuple[Line, ...]:
    """Returns the lines of a family's report."""
    checklist = Checklist()
    if checklist.check("declares its attributes", lambda: _attributes(entry, family)):
        with _fast_compilation():
            _check_trial(checklist, family)
    return tuple(checklist.lines)


@contextmanager
def _fast_compilation() -> Iterator[None]:
    """Disables most XLA optimisations, which halves the time of a check.

    A check compiles five programs and runs each for a few steps.
    """
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
    if not checklist.check("trial data opens", lambda: _opens(name, options)):
        return
    data = open_dataset(name, options)
    if not checklist.check(
        "shape has the requested size within 10 %", lambda: _sizes(family, trial, data)
    ):
        return
    checklist.check("recipe is valid", lambda: _recipes(family, trial, data))
    if not checklist.check(
        "counts equals the module's parameters", lambda: _counts(family, trial, data)
    ):
        return
    training = TrainingChecks(family, trial, data)
    if not checklist.check("sums ignores masked examples", training.sums):
        return
    checklist.check("flops_computed equals the traced FLOPs", training.flops)
    checklist.check("every mesh gives the same loss", training.meshes)
    checklist.check("the step compiles once", training.compiles_once)
    checklist.check("the loss falls in training", training.learns)


def _attributes(entry: Entry, family: ModelFamily) -> str:
    from scalax.train.mesh import AXES

    description = check_attributes(entry, family, ("title",))
    wrong = {name: axes for name, axes in family.rules.items() if not mesh_axes(axes) <= set(AXES)}
    if wrong:
        raise CheckFailedError(
            f"rules names unknown mesh axes (expected {', '.join(AXES)} or None, got {wrong})",
            fix="correct rules",
        )
    if "loss" not in family.metrics:
        raise CheckFailedError(
            f"metrics has no loss (got {', '.join(family.metrics) or 'none'})",
            fix='add "loss" to metrics, and return it from sums',
        )
    trial = family.trial
    if trial is None or not trial.params or "dataset" not in trial.data:
        raise CheckFailedError(
            f"no trial to check the family on (expected sizes and a dataset, got {trial})",
            fix='write trial = sx.Trial([SIZES], {"dataset": NAME}) with a dataset that is always '
            "available",
        )
    return description


def _opens(name: str, options: Mapping[str, Any]) -> str:
    spec = open_dataset(name, options).spec
    return f"{name}: {spec.train_examples:,} training examples"


def _sizes(family: ModelFamily, trial: Trial, data: OpenDataset) -> str:
    worst = 0.0
    for target in trial.params:
        shape = family.shape(target, trial.model, data.spec)
        if shape != family.shape(target, trial.model, data.spec) or hash(shape) is None:
            raise CheckFailedError(
                f"expected equal shapes from two calls for {target:g} parameters",
                fix="make the shape a frozen dataclass, computed from the arguments only",
            )
        counts = family.counts(shape)
        error = counts.params / target - 1
        if not abs(error) <= _SIZE_TOLERANCE:
            raise CheckFailedError(
                f"expected {target:,.0f} parameters within 10 %, got {counts.params:,}",
                fix="let shape choose among more sizes, or correct counts",
            )
        for name, count, least in [
            ("params_embedding", counts.params_embedding, 0),
            ("params_active", counts.params_active, 1),
        ]:
            if not least <= count <= counts.params:
                raise CheckFailedError(
                    f"expected {name} of {least} to {counts.params:,}, got {count:,}",
                    fix="correct counts",
                )
        worst = max(worst, abs(error))
    return f"{len(trial.params)} sizes, error at most {worst:.1%}"


def _recipes(family: ModelFamily, trial: Trial, data: OpenDataset) -> str:
    recipes = []
    for target, batches in itertools.product(trial.params, (10, 10_000)):
        shape = family.shape(target, trial.model, data.spec)
        units = float(batches * BATCH * data.spec.units_per_example)
        recipe = family.recipe(shape, units, data.spec)
        if not (isinstance(recipe, Recipe) and isinstance(recipe.batch, int) and recipe.batch >= 1):
            raise CheckFailedError(
                f"expected an sx.Recipe with an integer batch of 1 or more, got {recipe}",
                fix="correct recipe",
            )
        if not (math.isfinite(recipe.learning_rate) and recipe.learning_rate > 0):
            raise CheckFailedError(
                f"expected a positive learning rate, got {recipe.learning_rate}",
                fix="correct recipe",
            )
        if recipe.optimizer not in _OPTIMIZERS:
            raise CheckFailedError(
                f"expected an optimizer of {' or '.join(_OPTIMIZERS)}, got {recipe.optimizer!r}",
                fix="correct recipe",
            )
        recipes.append(recipe)
    rates = [recipe.learning_rate for recipe in recipes]
    return f"learning rates from {min(rates):.2g} to {max(rates):.2g}"


def _counts(family: ModelFamily, trial: Trial, data: OpenDataset) -> str:
    import jax
    from flax import nnx

    for target in trial.params:
        shape = family.shape(target, trial.model, data.spec)
        module = abstract_module(family, shape)
        leaves = jax.tree.leaves(nnx.state(module, nnx.Param))
        actual, stated = sum(leaf.size for leaf in leaves), family.counts(shape).params
        if actual != stated:
            raise CheckFailedError(
                f"expected counts to return {actual:,}, the parameters of the module at "
                f"{target:g}, got {stated:,}",
                fix="count every nnx.Param of the module once",
            )
        flops, computed = family.flops_per_unit(shape), family.flops_computed(shape)
        if not (math.isfinite(flops) and 0 < flops <= computed):
            raise CheckFailedError(
                f"expected flops_per_unit above 0 and at most flops_computed ({computed:g}), got "
                f"{flops:g}",
                fix="correct flops_per_unit or flops_computed",
            )
    return f"{len(trial.params)} sizes, equal to the last parameter"
