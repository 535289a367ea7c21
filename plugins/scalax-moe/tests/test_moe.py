"""Tests of the mixture of experts: counts, FLOPs, causal routing, sharding, metrics and the law."""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType
from jax.test_util import check_grads
from scalax_moe.family import MoeTransformer
from scalax_moe.law import EffectiveParams
from scalax_moe.module import SparseMlp
from scalax_moe.routing import balance_loss, combine, dispatch, route
from scalax_moe.shape import shape_for

import scalax as sx

FAMILY = MoeTransformer()
DATA = sx.DataSpec(
    name="bytes",
    unit="tokens",
    units_per_example=32,
    features={"tokens": sx.Feature((33,), "int32")},
    classes=256,
    train_examples=100,
    eval_examples=10,
    fingerprint="none",
)
CASES = [
    (40_000, {"experts": 4, "top_k": 1}),
    (100_000, {"experts": 8, "top_k": 2, "tied": False}),
    (300_000, {"experts": 16, "top_k": 2, "kv_groups": 2}),
]


def module_of(shape: Any) -> Any:
    compute = sx.Compute(jnp.float32)
    return FAMILY.build(shape, rngs=nnx.Rngs(0), compute=compute)


def batch_of(examples: int, seed: int = 0) -> dict[str, np.ndarray]:
    tokens = np.random.default_rng(seed).integers(0, 256, (examples, 33), dtype=np.int32)
    return {"tokens": tokens, "mask": np.ones(examples, np.float32)}


@pytest.mark.parametrize(("params", "options"), CASES)
def test_counts_equal_the_parameter_tree(params: float, options: dict[str, Any]) -> None:
    shape = FAMILY.shape(params, options, DATA)
    tree = nnx.state(nnx.eval_shape(lambda: module_of(shape)), nnx.Param)
    sizes = {jax.tree_util.keystr(k): v.size for k, v in jax.tree_util.tree_leaves_with_path(tree)}
    counts = FAMILY.counts(shape)
    assert counts.params == sum(sizes.values())
    assert abs(counts.params / params - 1) < 0.1
    experts = sum(size for name, size in sizes.items() if "experts" in name)
    idle = experts * (1 - options["top_k"] / options["experts"])
    assert counts.params_active == counts.params - idle


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("top_k", "slots"), [(1, 6), (2, 9), (2, 32)])
def test_routing_equals_a_loop_over_tokens(top_k: int, slots: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    batch, length, experts, width = 2, 16, 4, 5
    logits = rng.normal(size=(batch, length, experts)).astype(np.float32)
    x = rng.normal(size=(batch, length, width)).astype(np.float32)
    scale = np.arange(1, experts + 1, dtype=np.float32)  # expert e multiplies by e + 1

    routes = route(jnp.asarray(logits), top_k, slots)
    sent = dispatch(jnp.asarray(x), routes, experts)
    combined = combine(sent * scale[:, None, None], routes)

    probs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    want, dropped = np.zeros_like(x), np.zeros(batch)
    for b in range(batch):
        taken = [0] * experts
        for token in range(length):
            chosen = np.argsort(-probs[b, token])[:top_k]
            gates = probs[b, token, chosen]
            gates = gates / gates.sum() if top_k > 1 else gates
            for expert, gate in zip(chosen, gates, strict=True):
                if taken[expert] < slots:
                    taken[expert] += 1
                    want[b, token] += gate * scale[expert] * x[b, token]
                else:
                    dropped[b] += 1 / (length * top_k)
    np.testing.assert_allclose(combined, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(routes.dropped_B, dropped, atol=1e-6)


def test_gradients_of_dispatch_and_combine_are_correct() -> None:
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 8, 3)), jnp.float32)
    routes = route(jnp.asarray(rng.normal(size=(2, 8, 4)), jnp.float32), 2, 3)
    assert float(routes.dropped_B.max()) > 0

    def round_trip(x: jax.Array) -> jax.Array:
        sent = dispatch(x, routes, 4)
        return combine(jnp.sin(sent) * jnp.arange(1.0, 5.0)[:, None, None], routes)

    check_grads(round_trip, (x,), order=1, modes=["rev"], rtol=1e-2)


def test_balance_is_one_when_even_and_the_expert_count_when_one_expert_gets_all() -> None:
    even = np.zeros((1, 8, 4), np.float32)
    even[0, np.arange(8), np.arange(8) % 4] = 1e-3  # experts take turns and are equally likely
    one = np.zeros((1, 8, 4), np.float32)
    one[..., 2] = 50
    for logits, balance in ((even, 1), (one, 4)):
        routes = route(jnp.asarray(logits), 1, 8)
        result = balance_loss(routes.chosen_BxE, routes.prob_BxE)
        assert float(result[0]) == pytest.approx(balance, abs=1e-3)


def test_training_balances_the_batch_not_each_sequence() -> None:
    """Two sequences that each use one expert of two make an even batch."""
    shape = shape_for(40_000, vocab=256, seq_len=32, experts=2, top_k=1, capacity=2)
    mlp = SparseMlp(shape, nnx.Rngs(0), dtype=jnp.float32)
    x = np.zeros((2, 32, shape.dense.width), np.float32)
    x[0, :, 0], x[1, :, 0] = 50, -50
    kernel = np.zeros((shape.dense.width, 2), np.float32)
    kernel[0] = 1, -1
    mlp.router.kernel[...] = jnp.asarray(kernel)
    stats = mlp(jnp.asarray(x), jnp.ones(2))[1]
    assert float(stats.batch_balance) == pytest.approx(1)
    np.testing.assert_allclose(stats.balance_B, [2, 2], rtol=1e-5)
    masked = mlp(jnp.asarray(x), jnp.asarray([1.0, 0.0]))[1]
    assert float(masked.batch_balance) == pytest.approx(2)  # masked sequences do not count


def test_positions_do_not_depend_on_later_ones_when_slots_are_scarce() -> None:
    shape = shape_for(40_000, vocab=256, seq_len=32, experts=4, top_k=2, capacity=0.5)
    module = module_of(shape)
    tokens = batch_of(1)["tokens"][:, :-1]
    later = tokens.copy()
    later[:, 20:] = 7
    one, other = (
        module.logits(module.hidden(jnp.asarray(t), jnp.ones(1))[0]) for t in (tokens, later)
    )
    np.testing.assert_allclose(one[:, :20], other[:, :20], rtol=1e-4, atol=1e-5)
    assert not np.allclose(one[:, 20:], other[:, 20:], atol=1e-3)


def test_the_loss_is_cross_entropy_and_its_gradient_includes_the_balance_loss() -> None:
    shape = FAMILY.shape(40_000, {"experts": 4, "top_k": 1}, DATA)
    plain = FAMILY.shape(40_000, {"experts": 4, "top_k": 1, "balance": 0.0}, DATA)
    batch = jax.tree.map(jnp.asarray, batch_of(4))

    def loss_and_gradient(shape: Any) -> tuple[float, Any]:
        graph, weights = nnx.split(module_of(shape))

        def loss(weights: Any) -> Any:
            sums, weight = FAMILY.sums(nnx.merge(graph, weights), batch)
            return sums["loss"] / weight

        value, gradient = jax.value_and_grad(loss)(weights)
        return float(value), gradient["blocks"]["mlp"]["router"]["kernel"].get_value()

    balanced, unbalanced = loss_and_gradient(shape), loss_and_gradient(plain)
    assert balanced[0] == pytest.approx(unbalanced[0])
    assert abs(balanced[0] - math.log(256)) < 0.5
    assert not np.allclose(balanced[1], unbalanced[1], atol=1e-7)


def test_sums_leave_out_masked_examples() -> None:
    module = module_of(FAMILY.shape(40_000, {"experts": 4, "top_k": 2}, DATA))
    batch = jax.tree.map(jnp.asarray, batch_of(6))
    sums, weight = FAMILY.sums(module, batch | {"mask": jnp.array([1, 1, 1, 1, 0, 0], jnp.float32)})
    four, _ = FAMILY.sums(module, {name: values[:4] for name, values in batch.items()})
    assert float(weight) == 4 * 32
    for name, value in four.items():
        assert float(sums[name]) == pytest.approx(float(value), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"experts": 2, "top_k": 3}, "cannot be sent to 3 of 2 experts"),
        ({"experts": 64}, "no mixture of 64 experts has about 20,000 parameters"),
        ({"expert": 4}, "model.expert: unknown key"),
    ],
)
def test_impossible_shapes_raise(options: dict[str, Any], message: str) -> None:
    with pytest.raises(sx.ScalaxError, match=message):
        FAMILY.shape(20_000, options, DATA)


def test_the_law_is_chinchilla_where_all_is_active_and_a_fit_recovers_its_coefficients() -> None:
    law = EffectiveParams()
    truth = {"E": 1.2, "A": 60.0, "B": 300.0, "alpha": 0.4, "beta": 0.45, "s": 0.35}
    x = {"params": 1e6, "params_active": 1e6, "tokens": 1e8}
    assert float(law.loss(np, truth, x)) == pytest.approx(1.2 + 60 / 1e6**0.4 + 300 / 1e8**0.45)
    rows = np.array(list(itertools.product([1e5, 3e5, 1e6], [1, 2, 4, 8], [1e7, 3e7, 1e8])))
    columns = {"params": rows[:, 0] * rows[:, 1], "params_active": rows[:, 0], "tokens": rows[:, 2]}
    runs = sx.Runs.from_columns({**columns, "loss": law.loss(np, truth, columns)})
    fit = sx.fit(runs, law="moe-effective", bootstrap=0)
    for name, value in truth.items():
        assert fit.coefficients[name] == pytest.approx(value, rel=1e-3), name


def test_experts_are_sharded_over_the_expert_axis() -> None:
    """The conformance check tests that every mesh gives the same loss."""
    shape = FAMILY.shape(40_000, {"experts": 4, "top_k": 2}, DATA)
    axes = ("data", "fsdp", "tensor", "expert")
    mesh = jax.make_mesh((1,) * 4, axes, axis_types=(AxisType.Auto,) * 4, devices=jax.devices()[:1])
    with jax.set_mesh(mesh), nnx.logical_axis_rules(tuple(FAMILY.rules.items())):
        module = nnx.eval_shape(
            lambda: FAMILY.build(shape, rngs=nnx.Rngs(0), compute=sx.Compute(jnp.float32))
        )
        params = nnx.state(module, nnx.Param)
        up = nnx.get_named_sharding(params, mesh)["blocks"]["mlp"]["experts"]["up"].get_value()
    assert up.spec[1] == "expert"
