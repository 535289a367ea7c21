"""Turns an experiment into its runs: shapes, hyperparameters, trunks and exact costs.

Pure functions: nothing is read or trained, and jax is not imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from scalax.errors import ScalaxError
from scalax.models.base import ModelFamily
from scalax.runs.schema import Role
from scalax.schema import parse
from scalax.shapes.base import DataSpec
from scalax.sweep.axes import check_per_run, variants
from scalax.sweep.choose_recipe import RecipeChooser
from scalax.sweep.experiment import Experiment, Grid, IsoFlop, Listed, ListedRun, Train
from scalax.sweep.plan import Group, Plan, Run, Trunk
from scalax.train.settings import TrainSpec

_METRIC_LINES = 100
"""Approximate number of lines that a run writes to metrics.jsonl."""


def expand(experiment: Experiment, family: ModelFamily, data: DataSpec) -> Plan:
    """Returns all runs of an experiment.

    Args:
        experiment: The experiment.
        family: Its model family.
        data: Its dataset.

    Raises:
        ScalaxError: A size has no shape, a token count is less than one step, or two runs are
            the same.
    """
    groups: list[Group] = []
    combinations = variants(experiment)
    for axes, variant in combinations:
        groups += _Expander(variant, family, data, axes).groups()
    checks: list[Group] = []
    if experiment.check:
        expander = _Expander(experiment, family, data, {})
        checks = [expander.single_run(*point, role="check") for point in experiment.check.points]
    plan = Plan(tuple(groups), tuple(checks), data, tuple(combinations[0][0]))
    _check_distinct(plan)
    return plan


@dataclass(frozen=True)
class _Expander:
    """Expands one combination of axis values."""

    experiment: Experiment
    family: ModelFamily
    data: DataSpec
    axes: Mapping[str, Any]

    def groups(self) -> list[Group]:
        sweep = self.experiment.sweep
        if isinstance(sweep, Grid):
            counts = sorted(sweep.tokens)
            sizes = [self._size()] if sweep.params == "auto" else sweep.params
            if self.experiment.train.schedule == "wsd":
                return [self._branches(params, counts) for params in sizes]
            return [self.single_run(n, d) for n in sizes for d in counts]
        if isinstance(sweep, IsoFlop):
            pairs = zip(sweep.flops, sweep.params, strict=True)
            return [self._run_of_budget(n, flops) for flops, sizes in pairs for n in sizes]
        assert isinstance(sweep, Listed)
        by_trunk: dict[str, list[ListedRun]] = {}
        for k, run in enumerate(sweep.runs):
            by_trunk.setdefault(run.trunk or f"run {k}", []).append(run)
        return [self._listed(runs) for runs in by_trunk.values()]

    def single_run(self, params: float, tokens: float, role: Role = "fit") -> Group:
        """Returns a run that shares no trunk, as a group of its own."""
        spec = self._spec(self._shape(params), tokens, longest=tokens, shortest=tokens)
        run = self._run(params, tokens, spec, trunk=None, shared_steps=0, role=role)
        return Group(((run,),))

    def _listed(self, runs: list[ListedRun]) -> Group:
        """Returns a listed run, or the listed runs of one trunk."""
        first = runs[0]
        check_per_run(first.train, "sweep.runs.train")
        model = self.experiment.model.model_copy(update=first.model)
        settings = self.experiment.train.model_dump() | first.train
        train = parse(Train, settings, where="sweep.runs.train")
        expander = replace(
            self,
            experiment=self.experiment.model_copy(update={"model": model, "train": train}),
            axes={**self.axes, **first.model, **first.train},
        )
        params = expander._size() if first.params == "auto" else first.params
        if first.trunk is None:
            return expander.single_run(params, first.tokens)
        return expander._branches(params, sorted(run.tokens for run in runs), first.trunk)

    def _size(self) -> float:
        size = self.family.size(self.experiment.model.options, self.data)
        if size is None:
            raise ScalaxError(
                f"the {self.family.name} of [model] has no fixed size",
                where="sweep.params",
                fix="write a list of sizes, or fix the shape in [model], such as width and layers",
            )
        return size

    def _run_of_budget(self, params: float, flops: float) -> Group:
        per_token = self.family.flops_per_unit(self._shape(params))
        return self.single_run(params, flops / per_token)

    def _branches(self, params: float, counts: list[float], trunk: str | None = None) -> Group:
        """Returns the runs of one size, as branches of a trunk.

        Args:
            params: The size.
            counts: Tokens of each run, ascending.
            trunk: Name of the trunk; by default a name made from the size.
        """
        shape = self._shape(params)
        specs = [self._spec(shape, tokens, counts[-1], counts[0]) for tokens in counts]
        steps = specs[-1].decay_start
        name = self._with_axes(trunk) if trunk else self._name(params, None)
        shared = Trunk(name, replace(specs[-1], steps=steps, decay_start=steps))
        runs, shared_steps = [], 0
        for tokens, spec in zip(counts, specs, strict=True):
            runs.append(self._run(params, tokens, spec, trunk=shared, shared_steps=shared_steps))
            shared_steps = spec.decay_start
        return Group((tuple(runs),))

    def _run(
        self,
        params: float,
        tokens: float,
        spec: TrainSpec,
        *,
        trunk: Trunk | None,
        shared_steps: int,
        role: Role = "fit",
    ) -> Run:
        """Returns a run; earlier branches of its trunk have paid for the shared steps."""
        per_step = self.family.flops_per_unit(spec.shape) * spec.units_per_step
        prefix = "check-" if role == "check" else ""
        return Run(
            name=prefix + self._name(params, tokens),
            role=role,
            spec=spec,
            counts=self.family.counts(spec.shape),
            flops=per_step * spec.steps,
            flops_spent=per_step * (spec.steps - shared_steps),
            target_params=params,
            target_tokens=tokens,
            trunk=trunk,
            axes=self.axes,
        )

    def _shape(self, params: float) -> Any:
        return self.family.shape(params, self.experiment.model.options, self.data)

    def _spec(self, shape: Any, tokens: float, longest: float, shortest: float) -> TrainSpec:
        """Returns the settings of a training.

        Args:
            shape: The architecture.
            tokens: Tokens to train on.
            longest: Tokens of the longest run on the same trunk.
            shortest: Tokens of the shortest run on the same trunk.
        """
        train = self.experiment.train
        chooser = RecipeChooser(self.experiment, self.family, self.data)
        recipe = chooser.recipe(shape, longest)
        if recipe.batch % train.accumulate:
            raise ScalaxError(
                f"a batch of {recipe.batch} does not divide into {train.accumulate} parts",
                where="train.accumulate",
                fix=f"write a divisor of {recipe.batch}",
            )
        per_step = recipe.batch * self.data.units_per_example
        steps = round(tokens / per_step)
        if steps < 1:
            raise ScalaxError(
                f"{tokens:g} {self.data.unit} are less than a batch of {per_step}",
                where="sweep",
                fix="raise the token count or the budget, or set a smaller train.batch",
            )
        fewest = max(1, round(shortest / per_step))
        decay_steps = max(1, round(steps * train.decay)) if train.schedule == "wsd" else 0
        return TrainSpec(
            family=self.family.name,
            shape=shape,
            data=self.data.fingerprint,
            recipe=recipe,
            steps=steps,
            units_per_step=per_step,
            schedule=train.schedule,
            warmup_steps=chooser.warmup_steps(recipe, shape, longest, fewest),
            decay_start=steps - decay_steps,
            seed=self.experiment.seed,
            precision=train.precision,
            eval_examples=max(1, -(-train.eval_tokens // self.data.units_per_example)),
            log_every=max(1, steps // _METRIC_LINES),
            skip_spikes=None if train.skip_spikes == "none" else train.skip_spikes,
            eval_every=(
                None if train.eval_every == "none" else max(1, round(train.eval_every / per_step))
            ),
            mesh="auto" if train.mesh == "auto" else {str(k): n for k, n in train.mesh.items()},
            recompute=train.recompute,
            accumulate=train.accumulate,
        )

    def _name(self, params: float, tokens: float | None) -> str:
        last = "trunk" if tokens is None else f"d{_short(tokens)}"
        return self._with_axes(f"n{_short(params)}-{last}")

    def _with_axes(self, name: str) -> str:
        return "-".join([name, *(f"{key}{_short(v)}" for key, v in self.axes.items())])


def _short(value: Any) -> str:
    return (
        f"{value:.6g}".replace("e+0", "e").replace("e+", "e")
        if isinstance(value, int | float)
        else str(value)
    )


def _check_distinct(plan: Plan) -> None:
    """Checks that no two runs have the same name or the same settings.

    Raises:
        ScalaxError: Two runs are the same; names both.
    """
    names: dict[str, Run] = {}
    specs: dict[tuple[Any, ...], Run] = {}
    for run in plan.runs:
        spec = run.spec
        key = (run.role, spec.shape, spec.steps, spec.units_per_step, repr(run.axes))
        other = names.get(run.name) or specs.get(key)
        if other is not None:
            raise ScalaxError(
                f"runs {other.name} and {run.name} are the same: {run.counts.params} params, "
                f"{spec.steps} steps of {spec.units_per_step} {plan.data.unit}",
                where="sweep",
                fix="space the sizes or token counts further apart",
            )
        names[run.name] = specs[key] = run
