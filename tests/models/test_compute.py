"""The result of a step does not depend on accumulation, recomputation, scans or kernels."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from scalax.models import compute, cross_entropy
from scalax.models.attention import attend
from scalax.models.compute import Compute
from scalax.models.cross_entropy import summed_cross_entropy
from scalax.models.label_sums import label_sums
from scalax.models.transformer import Transformer
from scalax.shapes.base import Recipe
from scalax.shapes.transformer import TransformerShape
from scalax.train.mesh import make_mesh
from scalax.train.program import Program

FAMILY = Transformer()
SHAPE = TransformerShape(
    vocab=64, width=16, layers=2, heads=2, kv_heads=1, head_dim=8, hidden=24, gated=True,
    tied=False, seq_len=16,
)  # fmt: skip
RECIPE = Recipe(batch=8, learning_rate=1.0, optimizer="sgd")  # updates linear in the gradient
SCHEDULE = {
    name: np.float32(value)
    for name, value in {
        "peak": 1, "warmup": 1, "decay_start": 100, "steps": 100, "cosine": 0,
    }.items()
}  # fmt: skip


def two_steps(mesh: dict[str, int], **how) -> tuple[list[float], list[np.ndarray]]:
    """The losses of two steps, and the parameters after them."""
    program = Program(FAMILY, SHAPE, RECIPE, "f32", make_mesh(mesh, 8), **how)
    state, losses = program.init(3), []
    draw = np.random.default_rng(0)
    for _ in range(2):
        mask = np.ones(8, np.float32)
        batch = {"tokens": draw.integers(0, 64, (8, 17), dtype=np.int32), "mask": mask}
        state, metrics = program.step(state, program.place(batch), SCHEDULE)
        losses += [float(metrics["loss"]), float(metrics["grad_norm"])]
    return losses, [np.asarray(leaf) for leaf in jax.tree.leaves(state.params)]


@pytest.fixture(scope="module")
def whole() -> tuple[list[float], list[np.ndarray]]:
    return two_steps({"data": 1})


@pytest.mark.parametrize(
    ("mesh", "how"),
    [
        ({"data": 2}, {"accumulate": 4, "recompute": "dots"}),
        ({"fsdp": 2}, {"accumulate": 2, "recompute": "full"}),
    ],
)
def test_parts_and_recomputing_give_the_step_of_the_whole_batch(whole, mesh, how) -> None:
    losses, params = two_steps(mesh, **how)
    np.testing.assert_allclose(losses, whole[0], rtol=1e-5)
    for ours, theirs in zip(params, whole[1], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_scanned_layers_are_the_unrolled_ones(whole, monkeypatch) -> None:
    monkeypatch.setattr(compute, "UNROLLED", 1)
    losses, params = two_steps({"data": 1})
    np.testing.assert_allclose(losses, whole[0], rtol=1e-5)
    for ours, theirs in zip(params, whole[1], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


@pytest.mark.parametrize("mask_dtype", [np.float32, np.bool_])
def test_sums_accept_numpy_batches(mask_dtype) -> None:
    draw = np.random.default_rng(0)
    module = FAMILY.build(SHAPE, rngs=nnx.Rngs(0), compute=Compute(jnp.float32))
    batch = {
        "tokens": draw.integers(0, 64, (2, 17), dtype=np.int32),
        "mask": np.array([1, 0], mask_dtype),
    }
    sums, weight = FAMILY.sums(module, batch)
    expected, _ = FAMILY.sums(module, jax.tree.map(jnp.asarray, batch))
    assert float(weight) == 16
    assert float(sums["loss"]) == float(expected["loss"])

    logits = draw.normal(size=(4, 3)).astype(np.float32)
    sums, weight = label_sums(logits, np.array([0, 1, 2, 0]), np.array([1, 1, 1, 0], mask_dtype))
    assert float(weight) == 3
    assert float(sums["accuracy"]) + float(sums["error_rate"]) == 3


def test_cross_entropy_in_chunks_is_that_of_the_whole_sequence(monkeypatch) -> None:
    draw = np.random.default_rng(0)
    x = jnp.asarray(draw.normal(size=(3, 12, 5)), jnp.float32)
    table = jnp.asarray(draw.normal(size=(5, 40)), jnp.float32)
    targets = jnp.asarray(draw.integers(0, 40, (3, 12)))
    weight = jnp.asarray([1.0, 0.5, 0.0])

    def loss(x: jax.Array, table: jax.Array) -> jax.Array:
        return summed_cross_entropy(lambda part: part @ table, x, targets, weight, 40)

    # The definition, in float64 NumPy.
    logits = np.asarray(x, np.float64) @ np.asarray(table, np.float64)
    chosen = np.take_along_axis(logits, np.asarray(targets)[..., None], -1)[..., 0]
    nats = np.log(np.exp(logits).sum(-1)) - chosen
    expected = float((nats * np.asarray(weight)[:, None]).sum())
    value, gradient = jax.value_and_grad(loss, (0, 1))(x, table)
    assert float(value) == pytest.approx(expected, rel=1e-6)
    monkeypatch.setattr(cross_entropy, "CHUNK", 3 * 40)  # four parts of three tokens
    chunked, theirs = jax.value_and_grad(loss, (0, 1))(x, table)
    assert float(chunked) == pytest.approx(expected, rel=1e-6)
    for ours, other in zip(gradient, theirs, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-5, atol=1e-6)


def test_the_logits_of_a_large_vocabulary_never_stand_whole() -> None:
    vocab, length, batch = 50_000, 2_048, 2
    shape = TransformerShape(
        vocab=vocab, width=8, layers=1, heads=1, kv_heads=1, head_dim=8, hidden=8, gated=False,
        tied=True, seq_len=length,
    )  # fmt: skip
    module = nnx.eval_shape(
        lambda: FAMILY.build(shape, rngs=nnx.Rngs(0), compute=Compute(jnp.float32, "full"))
    )
    graph, params = nnx.split(module)

    def loss(params: nnx.State, batch: dict[str, jax.Array]) -> jax.Array:
        return FAMILY.sums(nnx.merge(graph, params), batch)[0]["loss"]

    examples = {
        "tokens": jax.ShapeDtypeStruct((batch, length + 1), jnp.int32),
        "mask": jax.ShapeDtypeStruct((batch,), jnp.float32),
    }
    compiled = jax.jit(jax.grad(loss)).lower(params, examples).compile()
    logits = 4 * batch * length * vocab
    assert compiled.memory_analysis().temp_size_in_bytes < logits / 2


@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (4, 1)])
def test_attention_and_its_gradient_are_those_of_the_definition(heads) -> None:
    queries, groups = heads
    draw = np.random.default_rng(1)
    q, k, v = (
        jnp.asarray(draw.normal(size=(2, count, 10, 6)), jnp.float32)
        for count in (queries, groups, groups)
    )

    def ours(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sin(attend(q, k, v, scale=0.4)))

    def theirs(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        # jax.nn's own attention, which wants [batch, length, heads, width].
        wide = (jnp.swapaxes(x, 1, 2) for x in (q, k, v))
        mixed = jax.nn.dot_product_attention(*wide, scale=0.4, is_causal=True)
        return jnp.sum(jnp.sin(mixed))

    actual, expected = (jax.value_and_grad(f, (0, 1, 2))(q, k, v) for f in (ours, theirs))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), actual, expected
    )
