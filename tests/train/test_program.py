"""The train step: losses on any mesh and in both precisions, and the learning rate schedule."""

from __future__ import annotations

import itertools
from dataclasses import replace

import jax
import numpy as np
import pytest

from scalax.data.pipeline import train_batches
from scalax.data.text import Text
from scalax.errors import ScalaxError
from scalax.models.transformer import Transformer
from scalax.shapes.base import Recipe
from scalax.train.mesh import make_mesh
from scalax.train.program import Program
from scalax.train.schedule import learning_rate, schedule_values
from scalax.train.settings import TrainSpec
from scalax.train.spikes import WARMUP

FAMILY = Transformer()
RECIPE = Recipe(batch=8, learning_rate=0.01)


@pytest.fixture(scope="module")
def data(corpus):
    return Text().open("text", {"files": [str(corpus)], "seq_len": 32})


def spec(data, **changes: object) -> TrainSpec:
    shape = FAMILY.shape(14_000, {"tied": True}, data.spec)
    made = TrainSpec(
        family="transformer", shape=shape, data=data.spec.fingerprint, recipe=RECIPE, steps=100,
        units_per_step=256, schedule="wsd", warmup_steps=10, decay_start=80, seed=0,
        precision="f32", eval_examples=64, log_every=1,
    )  # fmt: skip
    return replace(made, **changes)


def losses(data, steps: int, mesh="auto", precision: str = "f32") -> list[float]:
    made = spec(data, precision=precision)
    program = Program(FAMILY, made.shape, RECIPE, precision, make_mesh(mesh, RECIPE.batch))
    state = program.init(0)
    batches = train_batches(data.source("train"), batch=8, seed=0, start=0)
    result = []
    for batch in itertools.islice(batches, steps):
        state, metrics = program.step(state, program.place(batch), schedule_values(made))
        result.append(float(metrics["loss"]))
    return result


def test_the_loss_falls_from_that_of_a_uniform_guess(data) -> None:
    result = losses(data, 60)
    assert abs(result[0] - np.log(256)) < 0.3
    assert np.mean(result[-5:]) < 3.2  # bytes of English text by their frequency: about 3.1 nats


@pytest.mark.parametrize("mesh", [{"data": 2}, {"fsdp": 2}, {"tensor": 2}])
def test_any_mesh_gives_the_losses_of_one_device(data, mesh: dict[str, int]) -> None:
    np.testing.assert_allclose(losses(data, 12, mesh), losses(data, 12, {"data": 1}), rtol=1e-5)


def test_parameters_are_divided_over_fsdp_from_creation(data) -> None:
    made = spec(data)
    program = Program(FAMILY, made.shape, RECIPE, "f32", make_mesh({"fsdp": 2}, 8))
    state = program.init(0)
    whole = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    local = sum(leaf.addressable_shards[0].data.size for leaf in jax.tree.leaves(state.params))
    moments = sum(leaf.addressable_shards[0].data.size for leaf in jax.tree.leaves(state.optimizer))
    assert local < 0.55 * whole
    assert moments < 2 * 0.55 * whole


def test_bf16_keeps_master_weights_and_learns_as_well(data) -> None:
    ours, full = losses(data, 30, precision="bf16"), losses(data, 30)
    assert np.mean(np.abs(np.subtract(ours, full))) < 0.05
    assert ours != full


def test_a_batch_far_outside_the_history_is_skipped_and_counted(data) -> None:
    made = spec(data)
    program = Program(FAMILY, made.shape, RECIPE, "f32", make_mesh("auto", 8), skip_spikes=4.0)
    state = program.init(0)
    batches = train_batches(data.source("train"), batch=8, seed=0, start=0)
    for batch in itertools.islice(batches, WARMUP + 10):
        state, metrics = program.step(state, program.place(batch), schedule_values(made))
    assert float(metrics["skipped"]) == 0
    before = jax.device_get((state.params, state.optimizer))
    foreign = {"tokens": np.full((8, 33), 200, np.int32), "mask": np.ones(8, np.float32)}
    state, metrics = program.step(state, program.place(foreign), schedule_values(made))
    assert float(metrics["skipped"]) == 1
    assert int(state.step) == WARMUP + 11
    jax.tree.map(np.testing.assert_array_equal, before, (state.params, state.optimizer))
    state, metrics = program.step(state, program.place(next(batches)), schedule_values(made))
    assert float(metrics["skipped"]) == 1
    assert not np.array_equal(jax.tree.leaves(before)[0], jax.tree.leaves(state.params)[0])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # step: share of the peak. 10 steps up, level, 20 steps down to zero at step 100.
        ({}, {0: 0.1, 4: 0.5, 9: 1.0, 50: 1.0, 80: 1.0, 90: 0.5, 100: 0.0}),
        ({"schedule": "constant", "decay_start": 100}, {4: 0.5, 50: 1.0, 99: 1.0}),
        # A half cosine from step 10 to 100, to a tenth of the peak: the middle is at 0.55.
        ({"schedule": "cosine"}, {10: 1.0, 55: 0.55, 100: 0.1}),
    ],
)
def test_the_learning_rate_follows_the_schedule(data, changes, expected) -> None:
    values = schedule_values(spec(data, **changes))
    result = {step: float(learning_rate(values, step)) / 0.01 for step in expected}
    assert result == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("mesh", "message"),
    [({"data": 3}, "needs 3 devices"), ({"data": 2, "fsdp": 2}, "needs 4 devices")],
)
def test_a_mesh_that_does_not_fit_says_so(mesh: dict[str, int], message: str) -> None:
    with pytest.raises(ScalaxError, match=message):
        make_mesh(mesh, 8)


def test_a_batch_that_does_not_divide_says_so_and_auto_takes_what_does() -> None:
    with pytest.raises(ScalaxError, match="cannot divide a batch of 3 among 2"):
        make_mesh({"data": 2}, 3)
    assert make_mesh("auto", 3).size == 1
    assert make_mesh("auto", 4).size == 2
