"""Which law of learning rate and batch is used, and where none is."""

from __future__ import annotations

import pytest

import scalax as sx


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


def test_a_frontier_needs_one_of_its_two_power_laws() -> None:
    from scalax.errors import ScalaxError
    from scalax.laws.power_allocation import Frontier

    with pytest.raises(ScalaxError, match="params or tokens"):
        Frontier()
