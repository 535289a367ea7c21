"""From an experiment to the runs it states: shapes, hyperparameters, trunks and exact costs.

Pure: it reads nothing, trains nothing, and imports no jax.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from scalax.errors import ScalaxError, suggest
from scalax.laws.base import ComputeRule
from scalax.models.base import ModelFamily
from scalax.schema import parse
from scalax.shapes.base import Counts, DataSpec
from scalax.sweep.experiment import (
    OF_A_SWEEP,
    Experiment,
    Grid,
    IsoFlop,
    Listed,
    ListedRun,
    Train,
)
from scalax.sweep.recipe import Chooser
from scalax.train.settings import TrainSpec

_LINES = 100  # of metrics a run


@dataclass(frozen=True)
class RunPlan:
    """One run, with all that its row will say but the measurement.

    Attributes:
        name: Its folder's name.
        role: ``fit`` or ``check``.
        spec: What to train.
        counts: Exact parameter counts.
        flops: Training compute had it been trained alone, by the family's count.
        flops_spent: What it adds where it shares a trunk.
        target_params: The size asked for.
        target_tokens: The amount of data asked for.
        trunk: The trunk it branches from, or None.
        axes: Settings that the sweep varies, by column name.
    """

    name: str
    role: str
    spec: TrainSpec
    counts: Counts
    flops: float
    flops_spent: float
    target_params: float
    target_tokens: float
    trunk: str | None
    axes: Mapping[str, Any]


@dataclass(frozen=True)
class Group:
    """Runs that one program trains: the branches of a trunk, or a run alone.

    Attributes:
        name: The trunk's folder, or the run's.
        trunk: What the trunk trains, up to its last branch; None for a run alone.
        runs: By growing tokens.
    """

    name: str
    trunk: TrainSpec | None
    runs: tuple[RunPlan, ...]


@dataclass(frozen=True)
class Plan:
    """All runs of an experiment.

    Attributes:
        groups: The runs to fit.
        checks: The runs that test the forecast, each alone.
        data: What they train on.
        axes: Columns that ``[sweep.axes]`` varies.
    """

    groups: tuple[Group, ...]
    checks: tuple[Group, ...]
    data: DataSpec
    axes: tuple[str, ...]

    @property
    def fitted(self) -> list[RunPlan]:
        """The runs to fit, in order."""
        return [run for group in self.groups for run in group.runs]

    @property
    def runs(self) -> list[RunPlan]:
        """All runs, in the order of the table."""
        return self.fitted + [run for group in self.checks for run in group.runs]


def expand(experiment: Experiment, family: ModelFamily, data: DataSpec) -> Plan:
    """All runs of an experiment.

    Args:
        experiment: As read.
        family: Its model family.
        data: Its dataset.

    Raises:
        ScalaxError: A size has no shape, a token count makes no step, or two runs are one.
    """
    groups: list[Group] = []
    varied = list(_variants(experiment))
    for axes, variant in varied:
        planner = _Planner(variant, family, data, axes)
        groups += planner.groups()
    checks: list[Group] = []
    if experiment.check:
        planner = _Planner(experiment, family, data, {})
        checks = [planner.alone(*point, role="check") for point in experiment.check.points]
    plan = Plan(tuple(groups), tuple(checks), data, tuple(varied[0][0]))
    _all_different(plan)
    return plan


def _variants(experiment: Experiment) -> list[tuple[dict[str, Any], Experiment]]:
    """The experiment once for each combination of the axes' values, checked by its schema."""
    axes = experiment.sweep.axes
    paths = {key: _axis_path(key) for key in axes}
    found = []
    for values in itertools.product(*axes.values()):
        tree = experiment.model_dump()
        for path, value in zip(paths.values(), values, strict=True):
            section = tree
            for part in path[:-1]:
                section = section[part]
            section[path[-1]] = value
        names = [path[-1] for path in paths.values()]
        variant = parse(Experiment, tree, where="sweep.axes")
        found.append((dict(zip(names, values, strict=True)), variant))
    return found


def _axis_path(key: str) -> list[str]:
    if key in ("seed", "seeds"):
        return ["seed"]
    section, dot, rest = key.partition(".")
    _differs_by_run([key, rest], f"sweep.axes.{key}")
    if key in Train.model_fields:
        return ["train", key]
    if dot and section in ("train", "model") and rest:
        return [section, rest]
    if dot and section == "data":
        raise ScalaxError(
            "a sweep reads one dataset, opened once",
            where=f"sweep.axes.{key}",
            fix="write an experiment for each",
        )
    raise ScalaxError(
        "unknown setting",
        where=f"sweep.axes.{key}",
        fix=suggest(
            key, ["seed", *Train.model_fields], otherwise="write model.KEY for a key of the family"
        ),
    )


def _differs_by_run(keys: Iterable[str], where: str) -> None:
    """Refuses settings that a run cannot have for itself."""
    for key in set(keys) & set(OF_A_SWEEP):
        raise ScalaxError(
            f"all runs of a sweep share {key}", where=where, fix=f"set it once: train.{key}"
        )


@dataclass(frozen=True)
class _Planner:
    """Plans the runs of one combination of axes."""

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
                return [self._trunk(params, counts) for params in sizes]
            return [self.alone(n, d) for n in sizes for d in counts]
        if isinstance(sweep, IsoFlop):
            pairs = zip(sweep.flops, sweep.params, strict=True)
            return [self._at_budget(n, flops) for flops, sizes in pairs for n in sizes]
        assert isinstance(sweep, Listed)
        branches: dict[str, list[ListedRun]] = {}
        for k, run in enumerate(sweep.runs):
            branches.setdefault(run.trunk or f"run {k}", []).append(run)
        return [self._listed(runs) for runs in branches.values()]

    def alone(self, params: float, tokens: float, role: str = "fit") -> Group:
        shape = self._shape(params)
        spec = self._spec(shape, tokens, longest=tokens, shortest=tokens)
        run = self._plan(params, tokens, spec, trunk=None, before=0, role=role)
        return Group(run.name, None, (run,))

    def _listed(self, runs: list[ListedRun]) -> Group:
        """A run alone, or those of one trunk."""
        run = runs[0]
        _differs_by_run(run.train, "sweep.runs.train")
        model = self.experiment.model.model_copy(update=run.model)
        given = self.experiment.train.model_dump() | run.train
        train = parse(Train, given, where="sweep.runs.train")
        planner = replace(
            self,
            experiment=self.experiment.model_copy(update={"model": model, "train": train}),
            axes={**self.axes, **run.model, **run.train},
        )
        params = planner._size() if run.params == "auto" else run.params
        if run.trunk is None:
            return planner.alone(params, run.tokens)
        return planner._trunk(params, sorted(each.tokens for each in runs), run.trunk)

    def _size(self) -> float:
        size = self.family.size(self.experiment.model.options, self.data)
        if size is None:
            raise ScalaxError(
                f"the {self.family.name} of [model] has no one size",
                where="sweep.params",
                fix="give the sizes, or fix the shape in [model] (a transformer: width and layers)",
            )
        return size

    def _at_budget(self, params: float, flops: float) -> Group:
        per_token = self.family.flops_per_unit(self._shape(params))
        return self.alone(params, flops / per_token)

    def _trunk(self, params: float, counts: list[float], named: str | None = None) -> Group:
        shape = self._shape(params)
        specs = [self._spec(shape, tokens, counts[-1], counts[0]) for tokens in counts]
        last = specs[-1].decay_start
        trunk = replace(specs[-1], steps=last, decay_start=last)
        name = self._with_axes(named) if named else self._name(params, None)
        runs, before = [], 0
        for tokens, spec in zip(counts, specs, strict=True):
            runs.append(self._plan(params, tokens, spec, trunk=name, before=before))
            before = spec.decay_start
        return Group(name, trunk, tuple(runs))

    def _plan(
        self,
        params: float,
        tokens: float,
        spec: TrainSpec,
        *,
        trunk: str | None,
        before: int,
        role: str = "fit",
    ) -> RunPlan:
        per_step = self.family.flops_per_unit(spec.shape) * spec.units_per_step
        prefix = "check-" if role == "check" else ""
        return RunPlan(
            name=prefix + self._name(params, tokens),
            role=role,
            spec=spec,
            counts=self.family.counts(spec.shape),
            flops=per_step * spec.steps,
            flops_spent=per_step * (spec.steps - before),
            target_params=params,
            target_tokens=tokens,
            trunk=trunk,
            axes=self.axes,
        )

    def _shape(self, params: float) -> Any:
        return self.family.shape(params, self.experiment.model.options, self.data)

    def _spec(self, shape: Any, tokens: float, longest: float, shortest: float) -> TrainSpec:
        train = self.experiment.train
        chooser = Chooser(self.experiment, self.family, self.data)
        recipe = chooser.recipe(shape, longest)
        if recipe.batch % train.accumulate:
            raise ScalaxError(
                f"a batch of {recipe.batch} does not divide into {train.accumulate} parts",
                where="train.accumulate",
                fix="give a divisor of the batch",
            )
        per_step = recipe.batch * self.data.units_per_example
        steps = round(tokens / per_step)
        if steps < 1:
            raise ScalaxError(
                f"{tokens:g} {self.data.unit} are less than a batch of {per_step}",
                where="sweep",
                fix="ask for more, or set train.batch",
            )
        fewest = max(1, round(shortest / per_step))
        falls = max(1, round(steps * train.decay)) if train.schedule == "wsd" else 0
        return TrainSpec(
            family=self.family.name,
            shape=shape,
            data=self.data.fingerprint,
            recipe=recipe,
            steps=steps,
            units_per_step=per_step,
            schedule=train.schedule,
            warmup_steps=chooser.warmup_steps(recipe, shape, longest, fewest),
            decay_start=steps - falls,
            seed=self.experiment.seed,
            precision=train.precision,
            eval_examples=max(1, -(-train.eval_tokens // self.data.units_per_example)),
            log_every=max(1, steps // _LINES),
            skip_spikes=None if train.skip_spikes == "none" else train.skip_spikes,
            eval_every=(
                None if train.eval_every == "none" else max(1, round(train.eval_every / per_step))
            ),
            mesh="auto" if train.mesh == "auto" else {str(k): n for k, n in train.mesh.items()},
            recompute=train.recompute,
            accumulate=train.accumulate,
        )

    def _name(self, params: float, tokens: float | None) -> str:
        what = "trunk" if tokens is None else f"d{_short(tokens)}"
        return self._with_axes(f"n{_short(params)}-{what}")

    def _with_axes(self, name: str) -> str:
        return "-".join([name, *(f"{key}{_short(v)}" for key, v in self.axes.items())])


def row(run: RunPlan, data: DataSpec) -> dict[str, Any]:
    """A run's row of the table before it is measured; nothing in it depends on the clock."""
    spec = run.spec
    return {
        "name": run.name,
        "role": run.role,
        "status": None,
        "params": run.counts.params,
        "tokens": spec.units,
        "flops": run.flops,
        "loss": None,
        "params_embedding": run.counts.params_embedding,
        "params_active": run.counts.params_active,
        "flops_6nd": ComputeRule().flops(run.counts.params, spec.units),
        "flops_spent": run.flops_spent,
        "unique_tokens": min(spec.units, data.train_examples * data.units_per_example),
        "trunk": run.trunk,
        "seed": spec.seed,
        "learning_rate": spec.recipe.learning_rate,
        "batch_tokens": spec.units_per_step,
        "steps": spec.steps,
        "warmup_steps": spec.warmup_steps,
        "schedule": spec.schedule,
        "precision": spec.precision,
        "target_params": run.target_params,
        "target_tokens": run.target_tokens,
        **run.axes,
    }


def _short(value: Any) -> str:
    return (
        f"{value:.6g}".replace("e+0", "e").replace("e+", "e")
        if isinstance(value, int | float)
        else str(value)
    )


def _all_different(plan: Plan) -> None:
    names: dict[str, RunPlan] = {}
    specs: dict[tuple[Any, ...], RunPlan] = {}
    for run in plan.runs:
        spec = run.spec
        key = (run.role, spec.shape, spec.steps, spec.units_per_step, repr(run.axes))
        other = names.get(run.name) or specs.get(key)
        if other is not None:
            raise ScalaxError(
                f"runs {other.name} and {run.name} come out the same: {run.counts.params} params, "
                f"{spec.steps} steps of {spec.units_per_step} {plan.data.unit}",
                where="sweep",
                fix="space the sizes or token counts further apart",
            )
        names[run.name] = specs[key] = run
