"""Checkpoints: restored on any mesh, skipped if damaged, and kept as configured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scalax.models.transformer import Transformer
from scalax.shapes.base import DataSpec, Feature, Recipe
from scalax.train.checkpoint import INFO_FILE, Checkpoints
from scalax.train.mesh import make_mesh
from scalax.train.program import Program
from scalax.train.step import TrainState


def state(step: int) -> TrainState:
    """A minimal train state."""
    values = jnp.asarray(np.random.default_rng(step).normal(size=(256, 64)), jnp.float32)
    return TrainState(params=values, rest={}, optimizer=(), step=jnp.int32(step))


ABSTRACT = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), state(0)
)


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A folder with checkpoints of steps 1, 2 and 3."""
    checkpoints = Checkpoints(tmp_path / "c", latest=3)
    for step in (1, 2, 3):
        checkpoints.save(state(step), step, {"random": {"seed": 7}})
    checkpoints.close()
    return tmp_path / "c"


def restored(folder: Path, at_most: int | None = None) -> TrainState | None:
    checkpoints = Checkpoints(folder)
    try:
        return checkpoints.restore(ABSTRACT, at_most)
    finally:
        checkpoints.close()


def same(result: TrainState | None, step: int) -> None:
    assert result is not None
    assert int(result.step) == step
    np.testing.assert_array_equal(result.params, state(step).params)


def largest(folder: Path) -> Path:
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def flip(folder: Path) -> None:
    file = largest(folder)
    bytes_ = bytearray(file.read_bytes())
    for k in range(64):
        bytes_[len(bytes_) // 2 + k] ^= 0xFF
    file.write_bytes(bytes_)


def truncate(folder: Path) -> None:
    file = largest(folder)
    file.write_bytes(file.read_bytes()[:-100])


def lose(folder: Path) -> None:
    largest(folder).unlink()


def unfinished(folder: Path) -> None:
    (folder / INFO_FILE).unlink()


def spoil_sums(folder: Path) -> None:
    (folder / INFO_FILE).write_text('{"step": 3, "files": ')


def test_the_latest_checkpoint_is_restored_with_its_info(three: Path) -> None:
    same(restored(three), 3)
    about = json.loads((three / "3" / INFO_FILE).read_text())
    assert about["step"] == 3
    assert about["random"] == {"seed": 7}


@pytest.mark.parametrize("damage", [flip, truncate, lose, unfinished, spoil_sums])
def test_a_damaged_checkpoint_is_skipped_for_the_one_before(
    three: Path, damage: Callable[[Path], None]
) -> None:
    damage(three / "3")
    with pytest.warns(UserWarning, match="checkpoint 3 cannot be used"):
        same(restored(three), 2)
    same(restored(three), 2)  # without a warning: the damaged one is gone


def test_with_all_damaged_training_starts_afresh(three: Path) -> None:
    for step in (1, 2, 3):
        flip(three / str(step))
    with pytest.warns(UserWarning, match="checkpoint 1 cannot be used"):
        assert restored(three) is None


def test_a_branch_starts_from_a_step_of_its_own(three: Path) -> None:
    same(restored(three, at_most=2), 2)


def test_the_latest_stay_and_those_that_branches_need(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c", keep=[2, 4], latest=2)
    for step in range(1, 9):
        checkpoints.save(state(step), step, {})
    checkpoints.close()
    assert Checkpoints(tmp_path / "c").steps() == [2, 4, 7, 8]


def test_a_state_is_restored_on_any_mesh(tmp_path: Path) -> None:
    data = DataSpec(
        name="bytes", unit="tokens", units_per_example=16,
        features={"tokens": Feature((17,), "int32")}, classes=256, train_examples=64,
        eval_examples=8, fingerprint="",
    )  # fmt: skip
    family, recipe = Transformer(), Recipe(batch=8, learning_rate=0.01)
    shape = family.shape(14_000, {"tied": True}, data)

    def program(mesh: dict[str, int]) -> Program:
        return Program(family, shape, recipe, "f32", make_mesh(mesh, 8))

    first = result = program({"fsdp": 2}).init(3)
    before = jax.device_get(jax.tree.leaves(first))
    for number, mesh in enumerate([{"data": 2}, {"data": 1}, {"fsdp": 2}]):
        checkpoints = Checkpoints(tmp_path / str(number))
        checkpoints.save(result, 5, {})
        abstract = program(mesh).abstract()
        result = checkpoints.restore(abstract)
        checkpoints.close()
        places = jax.tree.map(lambda leaf: leaf.sharding, result)
        assert places == jax.tree.map(lambda leaf: leaf.sharding, abstract)
        for ours, theirs in zip(before, jax.tree.leaves(result), strict=True):
            np.testing.assert_array_equal(ours, theirs)
