"""Which law of learning rate and batch is used, and where none is."""

from __future__ import annotations

import pytest

import scalax as sx
from scalax.laws.hyperparameters import suggest


def test_an_allocation_names_the_law_of_its_learning_rate() -> None:
    answer = sx.published("hoffmann2022").allocate(1e21)
    assert answer.learning_rate == pytest.approx(
        1.79 * answer.params**-0.713 * answer.tokens**0.307
    )
    assert answer.batch_tokens == pytest.approx(0.58 * answer.tokens**0.571)
    assert any("steplaw2025" in note for note in answer.notes)


def test_a_paper_with_a_law_of_its_own_is_asked_first() -> None:
    answer = sx.published("porian2024").allocate(1e19)
    assert answer.learning_rate == pytest.approx(3.7 * answer.params**-0.36)
    assert any("porian2024" in note for note in answer.notes)


def test_inside_the_runs_nothing_is_said_of_distance_and_outside_how_far() -> None:
    _, _, notes = suggest(5e8, 2e10, 6e19)
    assert "outside" not in notes[0]
    _, _, notes = suggest(1.073741824e10, 2e10, 6e20)
    assert "10 times outside" in notes[0]


@pytest.mark.parametrize(("params", "tokens"), [(1e4, 1e10), (1e9, 1e15), (2e11, 1e10)])
def test_far_from_the_runs_nothing_is_recommended(params: float, tokens: float) -> None:
    rate, batch, notes = suggest(params, tokens, 6 * params * tokens)
    assert rate is None and batch is None
    assert "no learning rate" in notes[0]


def test_a_frontier_needs_one_of_its_two_power_laws() -> None:
    from scalax.errors import ScalaxError
    from scalax.laws.power_allocation import Frontier

    with pytest.raises(ScalaxError, match="params or tokens"):
        Frontier()
