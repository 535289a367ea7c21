"""The expected training time on this machine, as a plan reports it."""

from __future__ import annotations

import pytest

import scalax.hardware.host as host


@pytest.mark.parametrize(
    ("flops_per_unit", "reached"),
    [(144_576, 58.8e9), (565_152, 81.9e9), (2_153_664, 131.7e9), (8_267_520, 190.7e9),
     (31_416_768, 176.9e9)],
)  # fmt: skip
def test_the_time_is_within_a_quarter_of_that_measured(
    monkeypatch: pytest.MonkeyPatch, flops_per_unit: float, reached: float
) -> None:
    """Speeds of five transformers on two cores whose products ran at 242 GFLOP/s."""
    monkeypatch.setattr(host, "has_accelerator", lambda: False)
    monkeypatch.setattr(host, "matmul_rate", lambda: 242e9)
    expected = host.expected_seconds([(1e12, flops_per_unit)])
    assert expected == pytest.approx(1e12 / reached, rel=0.25)
    both = host.expected_seconds([(1e12, flops_per_unit), (3e12, flops_per_unit)])
    assert both == pytest.approx(4 * expected)


def test_an_accelerator_is_not_judged_by_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "has_accelerator", lambda: True)
    assert host.expected_seconds([(1e12, 1e6)]) is None
