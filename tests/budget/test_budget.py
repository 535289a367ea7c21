"""Budgets in chip-days, dollars and limited data, and the frontier over them."""

from __future__ import annotations

import pytest

from scalax.budget.frontier import frontier, spread
from scalax.budget.hardware import TrainingHardware, allocate_on
from scalax.errors import ScalaxError
from scalax.predict.data_limited import allocate_limited
from scalax.predict.published_law import PublishedLaw, published_fit

HOFFMANN = published_fit("hoffmann2022")


def test_a_budget_of_days_is_what_the_simulated_step_trains_in_them() -> None:
    answer = allocate_on(HOFFMANN, TrainingHardware("v5e-256"), days=30)
    seconds = answer.tokens / answer.tokens_per_second_per_chip / 256
    assert seconds == pytest.approx(30 * 86400 * 0.95, rel=0.01)
    assert answer.days <= 30 * (1 + 1e-9)
    assert answer.usd == pytest.approx(answer.days * 24 * 256 * 1.20)
    # The split is still the law's own for those FLOPs.
    assert answer.params == pytest.approx(HOFFMANN.allocate(answer.flops).params)
    assert answer.fits
    assert 0.4 < answer.utilisation < 0.75


def test_a_budget_of_dollars_is_spent_and_not_exceeded() -> None:
    answer = allocate_on(HOFFMANN, TrainingHardware("v5e-256"), usd=250_000)
    assert answer.usd == pytest.approx(250_000, rel=0.01)
    assert answer.usd is not None
    assert answer.usd <= 250_000 * (1 + 1e-9)


def test_lost_time_lengthens_the_training() -> None:
    without = allocate_on(HOFFMANN, TrainingHardware("v5p-128", lost=0.0), flops=1e22)
    lost = allocate_on(HOFFMANN, TrainingHardware("v5p-128", lost=0.2), flops=1e22)
    assert without.days == pytest.approx(0.8 * lost.days)
    assert any("20%" in note for note in lost.notes)


def test_with_limited_data_the_rest_of_the_budget_goes_to_parameters() -> None:
    free = allocate_limited(HOFFMANN, 1e23, None)
    tight = allocate_limited(HOFFMANN, 1e23, 2e11)
    assert tight.tokens == 2e11
    assert 6 * tight.params * tight.tokens == pytest.approx(1e23)
    assert tight.loss is not None
    assert free.loss is not None
    assert tight.loss > free.loss
    assert allocate_limited(HOFFMANN, 1e23, 1e15) == free


def test_limited_data_works_without_a_law_of_the_loss() -> None:
    law = published_fit("llama3")
    assert isinstance(law, PublishedLaw)
    assert allocate_limited(law, 1e24, 1e12).loss is None


def test_errors_say_which_option_to_give() -> None:
    with pytest.raises(ScalaxError, match=r"list price of .* is unknown"):
        allocate_on(HOFFMANN, TrainingHardware("v7-64"), usd=1e5)
    with pytest.raises(ScalaxError, match="one of --flops, --days and --usd"):
        allocate_on(HOFFMANN, TrainingHardware("v5e-64"), usd=1e5, days=3)
    with pytest.raises(ScalaxError, match="less than 1"):
        TrainingHardware("v5e-64", lost=1.0)


def test_the_frontier_has_the_best_split_of_each_budget() -> None:
    budgets = spread("1e20:1e22", 3, "--flops")
    assert [a.params for a in frontier(HOFFMANN, budgets)] == [
        HOFFMANN.allocate(c).params for c in (1e20, 1e21, 1e22)
    ]
    assert spread("3,1", 9, "--days") == [3.0, 1.0]
    for wrong in ("", "a", "-1", "5:2", "1:2:3"):
        with pytest.raises(ScalaxError):
            spread(wrong, 3, "--flops")
