"""Tests of the family: scores and ranks against NumPy, hashed rows, sharding and errors."""

from __future__ import annotations

import contextlib
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType
from scalax_recsys.module import Table, ranking_sums
from scalax_recsys.two_tower import TwoTower

import scalax as sx

FAMILY = TwoTower()
ITEMS, HISTORY, NEGATIVES = 300, 4, 30


def data(fields: int = 2) -> sx.DataSpec:
    return sx.DataSpec(
        name="bought",
        unit="examples",
        units_per_example=1,
        features={
            "fields": sx.Feature((fields,), "int32"),
            "history": sx.Feature((HISTORY,), "int32"),
            "target": sx.Feature((), "int32"),
            "negatives": sx.Feature((NEGATIVES,), "int32"),
        },
        classes=ITEMS,
        train_examples=100,
        eval_examples=10,
        fingerprint="none",
    )


def batch_of(examples: int, fields: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "fields": rng.integers(0, 2**31, (examples, fields), dtype=np.int32),
        "history": rng.integers(0, ITEMS, (examples, HISTORY), dtype=np.int32),
        "target": rng.integers(1, ITEMS, examples, dtype=np.int32),
        "negatives": rng.integers(1, ITEMS, (examples, NEGATIVES), dtype=np.int32),
        "mask": np.ones(examples, np.float32),
    }


@contextlib.contextmanager
def placed(**sizes: int):
    axes = ("data", "fsdp", "tensor", "expert")
    shape = tuple(sizes.get(axis, 1) for axis in axes)
    devices = jax.devices()[: math.prod(shape)]
    mesh = jax.make_mesh(shape, axes, axis_types=(AxisType.Auto,) * 4, devices=devices)
    rules = (*FAMILY.rules.items(), ("batch", ("data", "fsdp")))
    with jax.set_mesh(mesh), nnx.logical_axis_rules(rules):
        yield mesh


def module_of(shape):
    return FAMILY.build(shape, rngs=nnx.Rngs(0), compute=sx.Compute(jnp.float32))


@pytest.mark.parametrize("fields", [0, 2])
def test_scores_agree_with_numpy(fields: int) -> None:
    shape = FAMILY.shape(1e4, {"field_rows": 64}, data(fields))
    module, batch = module_of(shape), batch_of(5, fields)
    table = np.asarray(module.items.table[...])
    up, down = np.asarray(module.up[...]), np.asarray(module.down[...])
    scores = module.scores(batch["fields"], batch["history"], batch["negatives"])
    for k in range(5):
        past = [table[item] for item in batch["history"][k] if item]
        x = sum(past) / max(1, len(past))
        for field in batch["fields"][k]:
            x = x + np.asarray(module.fields.table[...])[field % 64]
        x = x / np.sqrt(np.mean(np.square(x)) + 1e-6)
        x = x + np.maximum(x @ up, 0) @ down
        np.testing.assert_allclose(
            scores[k], table[batch["negatives"][k]] @ x, rtol=1e-4, atol=1e-5
        )


class Fixed:
    """A module with given scores."""

    def __init__(self, scores: list[list[float]]) -> None:
        self._scores = jnp.asarray(scores)

    def scores(self, fields, history, candidates):
        return self._scores


def test_ranks_and_metrics_by_hand() -> None:
    # The target comes first. In row 1 one item ranks ahead of it, in row 2 a tie does, and in row 3
    # one of the negatives is the target itself.
    scores = [[2.0, 3.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0], [0.0, 9.0, -1.0, -1.0]]
    negatives = [[5, 6, 7], [5, 6, 7], [1, 6, 7]]
    batch = {
        "fields": np.zeros((3, 1), np.int32),
        "history": np.zeros((3, 1), np.int32),
        "target": np.ones(3, np.int32),
        "negatives": np.array(negatives, np.int32),
        "mask": np.ones(3, np.float32),
    }
    sums, weight = ranking_sums(Fixed(scores), batch)
    assert float(weight) == 3
    assert float(sums["mrr"]) == pytest.approx(1 / 2 + 1 / 2 + 1)
    assert float(sums["ndcg_at_10"]) == pytest.approx(2 / math.log2(3) + 1)
    assert (float(sums["recall_at_10"]), float(sums["miss_at_10"])) == (3, 0)
    others = [math.exp(1) + math.exp(-1) + math.exp(-2), 1 + 2 / math.e, 2 / math.e]
    assert float(sums["loss"]) == pytest.approx(sum(math.log1p(other) for other in others))


def test_a_rank_beyond_ten_is_a_miss() -> None:
    scores = [[0.0, *([1.0] * 10)], [0.0, *([1.0] * 9), -1.0]]
    batch = batch_of(2) | {"target": np.zeros(2, np.int32)}
    batch["negatives"] = np.ones((2, 10), np.int32)
    sums, _ = ranking_sums(Fixed(scores), batch)
    assert (float(sums["recall_at_10"]), float(sums["miss_at_10"])) == (1, 1)
    assert float(sums["ndcg_at_10"]) == pytest.approx(1 / math.log2(11))


def test_items_share_fewer_rows_evenly() -> None:
    table = Table(nnx.Rngs(0), 10_000, 64, 4, dtype=jnp.float32)
    embeddings = np.asarray(table(jnp.arange(10_000)))
    items_per_row = np.unique(embeddings, axis=0, return_counts=True)[1]
    assert len(items_per_row) == 64
    assert items_per_row.max() < 2 * items_per_row.min()


def test_sizes_are_met_or_raise() -> None:
    counts = FAMILY.counts(FAMILY.shape(1e5, {}, data()))
    assert abs(counts.params / 1e5 - 1) < 0.1
    assert FAMILY.size({"width": 24, "rows": 100}, data()) == 24 * (128 + 1024 + 1 + 2 * 4 * 24)
    with pytest.raises(sx.ScalaxError, match=r"tables of 320 and 1,024 rows has about 2,000"):
        FAMILY.shape(2000, {}, data())
    with pytest.raises(sx.ScalaxError, match=r"model\.depth: unknown key"):
        FAMILY.shape(1e5, {"depth": 3}, data())
    text = sx.DataSpec("text", "tokens", 8, {"tokens": sx.Feature((9,), "int32")}, 256, 9, 9, "x")
    with pytest.raises(
        sx.ScalaxError, match=r"needs data with features 'fields' and .*text has tokens"
    ):
        FAMILY.shape(1e5, {}, text)


def test_no_device_has_a_whole_table() -> None:
    shape = FAMILY.shape(1e5, {}, data())
    batch = batch_of(8)
    with placed(tensor=2) as mesh:
        graph, params = nnx.split(nnx.eval_shape(lambda: module_of(shape)))
        shardings = nnx.get_named_sharding(params, mesh)
        assert shardings["items"]["table"].get_value().spec == jax.P("tensor", "fsdp")

        def loss(params):
            return FAMILY.sums(nnx.merge(graph, params), batch)[0]["loss"]

        step = jax.jit(jax.grad(loss), in_shardings=(shardings,), out_shardings=shardings)
        program = step.lower(params).compile().as_text()
    rows, width = shape.rows, shape.width
    assert f"f32[{rows // 2},{width}]" in program
    assert f"f32[{rows},{width}]" not in program
