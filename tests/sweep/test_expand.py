"""The plan of a sweep: trunks, branches, exact costs, isoFLOPs, lists and axes."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalax.errors import ScalaxError
from scalax.sweep.run import prepare


def plan(experiment: Path, *overrides: str):
    return prepare(experiment, overrides).plan


def test_a_grid_has_one_trunk_for_each_size(experiment: Path) -> None:
    result = plan(experiment, "sweep.tokens=[4000, 8000, 16000]")
    assert [len(group.runs) for group in result.groups] == [3, 3]
    for group in result.groups:
        assert {run.trunk.name for run in group.runs} == {group.name}
        # A trunk's whole cost: its own steps once, and each branch's decay.
        decays = sum(run.spec.steps - run.spec.decay_start for run in group.runs)
        per_step = group.runs[0].flops / group.runs[0].spec.steps
        spent = sum(run.flops_spent for run in group.runs)
        assert spent == pytest.approx(per_step * (group.trunks[0].spec.steps + decays))
        assert len({run.spec.recipe for run in group.runs}) == 1
        assert len({run.spec.warmup_steps for run in group.runs}) == 1


def test_a_run_without_a_trunk_spends_what_it_costs(experiment: Path) -> None:
    check = plan(experiment).checks[0].runs[0]
    assert (check.role, check.trunk, check.flops_spent) == ("check", None, check.flops)


def test_runs_of_an_isoflop_cost_their_budget(experiment: Path) -> None:
    result = plan(
        experiment,
        'sweep={kind="isoflop", flops=[1e9, 2e9], params=[[9e3, 14e3], [9e3, 14e3, 20e3]]}',
    )
    budgets = [1e9] * 2 + [2e9] * 3
    assert [run.flops for run in result.fitted] == pytest.approx(budgets, rel=0.05)
    assert all(run.trunk is None for run in result.fitted)


def test_a_list_gives_exactly_its_runs(experiment: Path) -> None:
    result = plan(experiment, 'sweep={kind="list", runs=[{params=9e3, tokens=4e3}]}')
    assert [(r.target_params, r.target_tokens) for r in result.fitted] == [(9e3, 4e3)]


TRUNKS = (
    "{params=9e3, tokens=16e3, trunk='a'}, {params=9e3, tokens=8e3, trunk='a'}, "
    "{params=14e3, tokens=8e3, trunk='b'}, {params=14e3, tokens=4e3}"
)


def test_listed_runs_of_a_trunk_share_its_cost(experiment: Path) -> None:
    result = plan(experiment, f'sweep={{kind="list", runs=[{TRUNKS}]}}')
    assert [(g.name, len(g.runs)) for g in result.groups] == [
        ("a", 2),
        ("b", 1),
        ("n14000-d4000", 1),
    ]
    short, long = result.groups[0].runs
    assert (short.trunk.name, long.trunk.name) == ("a", "a")
    assert short.flops_spent == short.flops
    # The second continues from the start of the first one's decay: after four fifths of its steps.
    before = short.spec.decay_start / short.spec.steps
    assert long.flops_spent == pytest.approx(long.flops - before * short.flops)
    assert result.groups[2].trunks == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sweep={kind='list', runs=[{params=9e3, tokens=8e3, trunk='a'}, "
          "{params=14e3, tokens=8e3, trunk='a'}]}"], "equal params"),
        ([f'sweep={{kind="list", runs=[{TRUNKS}]}}', "train.schedule='cosine'"], "wsd"),
    ],
)  # fmt: skip
def test_a_trunk_needs_one_size_and_a_decay(
    experiment: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(ScalaxError, match=message):
        plan(experiment, *overrides)


def test_axes_multiply_the_sweep_and_name_their_column(experiment: Path) -> None:
    result = plan(experiment, "sweep.axes={learning_rate=[0.001, 0.01], seeds=[0, 1]}")
    assert len(result.fitted) == 4 * 4
    assert {(r.axes["learning_rate"], r.axes["seed"]) for r in result.fitted} == {
        (0.001, 0), (0.001, 1), (0.01, 0), (0.01, 1),
    }  # fmt: skip
    assert all(r.spec.recipe.learning_rate == r.axes["learning_rate"] for r in result.fitted)


SWEEPS = {
    "grid": [],
    "isoflop": ['sweep={kind="isoflop", flops=[1e9, 2e9], params=[[9e3, 14e3], [9e3, 14e3]]}'],
    "list": ['sweep={kind="list", runs=[{params=9e3, tokens=4e3}, {params=14e3, tokens=4e3}]}'],
}


@pytest.mark.parametrize("kind", SWEEPS)
def test_cosine_and_constant_runs_share_no_trunk(experiment: Path, kind: str) -> None:
    for schedule in ("cosine", "constant"):
        result = plan(experiment, f'train.schedule="{schedule}"', *SWEEPS[kind])
        assert [len(group.runs) for group in result.groups] == [1] * len(result.fitted)
        assert {run.spec.schedule for run in result.fitted} == {schedule}
        assert all(run.spec.decay_start == run.spec.steps for run in result.fitted)


def test_a_shape_given_in_the_file_sets_the_size(experiment: Path) -> None:
    result = plan(
        experiment, "model.layers=2", 'sweep.params="auto"', 'sweep.axes."model.width"=[16, 32]'
    )
    shapes = [(run.spec.shape.width, run.spec.shape.layers) for run in result.fitted]
    assert shapes == [(16, 2)] * 2 + [(32, 2)] * 2
    assert all(run.target_params == run.counts.params for run in result.fitted)


def test_listed_runs_may_each_have_a_shape(experiment: Path) -> None:
    result = plan(
        experiment,
        'sweep={kind="list", runs=[{tokens=4e3, model={width=16, layers=3}}, '
        "{params=2e4, tokens=4e3, model={layers=1}}]}",
    )
    first, second = (run.spec.shape for run in result.fitted)
    assert (first.width, first.layers, second.layers) == (16, 3, 1)
    assert result.fitted[1].counts.params == pytest.approx(2e4, rel=0.1)


def test_every_part_of_the_recipe_can_be_given(experiment: Path) -> None:
    given = {"batch": 4, "learning_rate": 0.003, "beta2": 0.98, "weight_decay": 0.01, "warmup": 0.2}
    result = plan(experiment, *(f"train.{name}={value}" for name, value in given.items()))
    for run in result.fitted:
        assert {name: getattr(run.spec.recipe, name) for name in given} == given
