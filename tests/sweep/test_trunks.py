"""Trunks and branches: a branch has the result of a separate run at a fraction of its cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalax.sweep.run import prepare, run_experiment

EXPERIMENT = """
[data]
dataset = "stdlib"
seq_len = 128
[model]
family = "transformer"
tied = true
[sweep]
kind = "grid"
params = [20_000]
tokens = {tokens}
[train]
eval_tokens = 65_536
[fit]
law = "chinchilla"
bootstrap = 0
"""


def separate_runs(file: Path) -> str:
    """The runs of a file's grid as a list without trunks, with the settings of their trunks."""
    runs = [
        f"{{params = {run.target_params}, tokens = {run.target_tokens}, train = {{"
        f"batch = {run.spec.recipe.batch}, learning_rate = {run.spec.recipe.learning_rate}, "
        f"warmup = {run.spec.warmup_steps / run.spec.steps}}}}}"
        for run in prepare(file).plan.fitted
    ]
    return f'sweep = {{kind = "list", runs = [{", ".join(runs)}]}}'


@pytest.mark.parametrize(
    "tokens",
    [
        pytest.param([60_000, 120_000], marks=pytest.mark.group),
        pytest.param([150_000, 300_000, 600_000, 1_200_000], marks=pytest.mark.slow),
    ],
)
def test_a_branch_has_the_result_of_a_separate_run(tmp_path: Path, tokens: list[int]) -> None:
    file = tmp_path / "trunks.toml"
    file.write_text(EXPERIMENT.format(tokens=tokens))
    shared = run_experiment(file, tmp_path / "shared")
    separate = run_experiment(file, tmp_path / "separate", [separate_runs(file)])
    assert shared is not None and separate is not None
    for branch, run in zip(shared.rows, separate.rows, strict=True):
        assert (branch["tokens"], branch["flops"]) == (run["tokens"], run["flops"])
        assert run["trunk"] is None and branch["trunk"] is not None
        assert branch["loss"] == pytest.approx(run["loss"], rel=1e-5)  # 0.5 % would do
    saving, whole = (outcome.to_json()["compute"] for outcome in (shared, separate))
    assert whole["saved"] == 0
    assert saving["flops"] == whole["flops_spent"]
    # A trunk costs the longest run, and each other branch its decay of a fifth.
    spent = max(tokens) + 0.2 * (sum(tokens) - max(tokens))
    assert saving["saved"] == pytest.approx(1 - spent / sum(tokens), abs=0.01)


def test_a_schedule_may_be_an_axis_or_that_of_a_listed_run(tmp_path: Path) -> None:
    file = tmp_path / "schedules.toml"
    file.write_text(EXPERIMENT.format(tokens=[60_000, 120_000]))
    axis = prepare(file, ['sweep.axes.schedule = ["wsd", "cosine", "constant"]']).plan
    kinds = {"wsd": 1, "cosine": 2, "constant": 2}  # groups: one trunk, or one for each run
    for kind, groups in kinds.items():
        same = [g for g in axis.groups if g.runs[0].axes["schedule"] == kind]
        assert len(same) == groups
        assert {run.spec.schedule for group in same for run in group.runs} == {kind}
    runs = ['{params = 2e4, tokens = 6e4, train = {schedule = "cosine"}}',
            "{params = 2e4, tokens = 6e4, train = {batch = 4}}"]  # fmt: skip
    listed = prepare(file, [f'sweep = {{kind = "list", runs = [{", ".join(runs)}]}}']).plan.fitted
    assert [run.spec.schedule for run in listed] == ["cosine", "wsd"]
    assert listed[1].spec.recipe.batch == 4
