"""The simulated step: against published results and derivations, and its errors."""

from __future__ import annotations

import itertools
import statistics

import pytest

from scalax.errors import ScalaxError
from scalax.hardware.chips import read_chips
from scalax.hardware.layout import Layout, parse_mesh, stored_params
from scalax.hardware.request import model_of_size, step_from_request
from scalax.hardware.search import best_step
from scalax.hardware.slices import parse_slice
from scalax.hardware.step import simulate_step
from scalax.shapes.presets import preset
from scalax.shapes.transformer import counts, train_flops
from tests.published_tpu import published_rows, simulated

LLAMA = preset("llama-3.1-8b")


def test_published_results_that_calibrated_nothing_are_met() -> None:
    judged = [row for row in published_rows() if row["use"] == "judge"]
    errors = [abs(simulated(r).tokens_per_second_per_chip / r["speed"] - 1) for r in judged]
    complete = [e for e, r in zip(errors, judged, strict=True) if r["complete"] == "yes"]
    assert len(judged) >= 50
    assert statistics.median(errors) <= 0.10
    assert max(complete) <= 0.25


def test_utilisation_is_model_flops_over_the_peak() -> None:
    step = step_from_request(LLAMA, "v5e-16", mesh="fsdp=16", batch_tokens=131072, recompute="full")
    flops = 131072 * train_flops(LLAMA)
    assert step.utilisation == pytest.approx(flops / step.seconds / (16 * 197e12))
    speed = step.tokens_per_second_per_chip
    assert step.usd_per_billion_tokens == pytest.approx(1e9 / speed / 3600 * 1.20)


def test_state_is_sharded_as_the_family_rules() -> None:
    whole = counts(LLAMA).params
    step = step_from_request(LLAMA, "v5p-32", mesh="fsdp=16", batch_tokens=131072)
    norms = LLAMA.width * (2 * LLAMA.layers + 1)
    assert step.bytes.parameters == pytest.approx(4 * ((whole - norms) / 16 + norms), abs=1)
    assert step.bytes.optimizer == pytest.approx(2 * step.bytes.parameters, abs=1)
    # Three heads do not divide into two: attention lies whole on both, the rest is halved.
    odd = model_of_size("transformer", 1e8, 512).architecture
    heads = odd.heads
    held = stored_params(odd, Layout(tensor=2))["blocks"] / odd.layers
    halves = odd.expert_params / 2 + odd.attention_params / (2 if heads % 2 == 0 else 1)
    assert held == pytest.approx(halves)


def test_more_recomputation_takes_longer_and_less_memory() -> None:
    kept = [
        simulate_step(
            LLAMA, parse_slice("v5p-32", read_chips()), Layout(fsdp=16), 16, recompute=again
        )
        for again in ("none", "dots", "full")
    ]
    for less, more in itertools.pairwise(kept):
        assert less.seconds < more.seconds
        assert less.bytes.total > more.bytes.total


def test_a_slow_network_binds() -> None:
    # One sequence on each of 256 chips: 405 billion parameters are gathered for 2048 tokens each.
    arch = preset("llama-3.1-405b", 256)
    step = step_from_request(
        arch, "v5e-256", mesh="fsdp=256", batch_tokens=256 * 256, recompute="full"
    )
    assert step.bound == "network"
    assert not step.fits


@pytest.mark.parametrize("chips", ["v5e-16", "v5p-128", "2xv6e-256", "h100-64"])
def test_the_search_finds_no_slower_step_than_any_mesh_named(chips: str) -> None:
    best = best_step(LLAMA, parse_slice(chips, read_chips()))
    assert best.fits
    devices, data = best.slice.devices, best.slice.slices
    for rest in ({"fsdp": devices // data}, {"fsdp": devices // data // 4, "tensor": 4}):
        mesh = {"data": data, **rest}
        for again in ("dots", "full"):
            named = simulate_step(LLAMA, best.slice, Layout(**mesh), devices, recompute=again)
            if named.fits:
                speed = best.tokens_per_second_per_chip
                assert named.tokens_per_second_per_chip <= 1.011 * speed


def test_a_step_that_fits_nowhere_reports_the_least_memory() -> None:
    step = step_from_request(preset("llama-3.1-405b"), "v5e-16")
    assert not step.fits
    assert step.bytes.total > step.slice.memory_limit


@pytest.mark.parametrize(
    ("mesh", "tokens", "message"),
    [
        ("fsdp=15", None, "fsdp=16"),
        ("fsdp=8,tensor=3", None, "Fix: write one of "),
        ("fspd=16", None, "did you mean 'fsdp'"),
        ("fsdp", None, "expected AXIS=SIZE"),
        ("fsdp=16", 1000, "expected a multiple of 8192"),
        ("fsdp=16", 8192, r"write 131072 \(16 sequences\)"),
    ],
)
def test_what_does_not_divide_is_refused_with_what_would(
    mesh: str, tokens: float | None, message: str
) -> None:
    with pytest.raises(ScalaxError, match=message):
        step_from_request(LLAMA, "v5e-16", mesh=mesh, batch_tokens=tokens)


def test_slices_need_an_axis_to_cross_them() -> None:
    with pytest.raises(ScalaxError, match=r"Fix: write one of .*data=2"):
        step_from_request(LLAMA, "2xv5e-16", mesh="tensor=32")


def test_a_mesh_reads_as_it_is_written() -> None:
    assert str(parse_mesh("tensor=4, fsdp=16")) == "fsdp=16,tensor=4"
    assert parse_mesh("data=1").to_json() == {"data": 1}
