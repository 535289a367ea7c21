"""The family `template-plugin`: predicts each token from the ones before it. Change it to yours.

This file counts what a shape costs and imports no jax; `module` computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import scalax as sx

WINDOW = 8
"""Tokens that a prediction sees."""


class Options(sx.Settings):
    """The family's own keys of ``[model]``: any key not named here is refused."""

    depth: int = 1


@dataclass(frozen=True)
class Shape:
    """One architecture; equal shapes are equal architectures.

    Attributes:
        vocab: Tokens of the alphabet.
        width: Of each token's embedding.
        hidden: Units of each hidden layer.
        depth: Hidden layers.
    """

    vocab: int
    width: int
    hidden: int
    depth: int

    @property
    def matrices(self) -> list[tuple[int, int]]:
        """Inputs and outputs of each layer, the head last."""
        inner = [(self.hidden, self.hidden)] * (self.depth - 1)
        return [(WINDOW * self.width, self.hidden), *inner, (self.hidden, self.vocab)]


class TemplatePlugin(sx.ModelFamily):
    """Embeds the last eight tokens, then layers with ReLU, then a head over the alphabet."""

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "template-plugin"
    title: ClassVar[str] = "layers over the last eight tokens"
    # Which mesh axis each named axis of a parameter is divided over: data, fsdp, tensor or expert.
    rules: ClassVar[Mapping[str, str | None]] = {"vocab": None, "inputs": "fsdp", "units": "tensor"}
    features: ClassVar[tuple[str, ...]] = ("tokens",)
    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy")
    # What `scalax plugins check` builds and trains.
    trial: ClassVar[sx.Trial] = sx.Trial(
        (1e4, 3e4, 1e5, 1e6), {"dataset": "stdlib", "seq_len": 32}, steps=60
    )

    def shape(self, params: float, options: Mapping[str, Any], data: sx.DataSpec) -> Shape:
        """The shape nearest to a size."""
        parsed = sx.parse_settings(Options, options, where="model")
        sx.require_features(self, data)
        widths = (width for power in range(12) for width in (2 * 2**power, 3 * 2**power))
        shapes = (
            Shape(data.classes, width, hidden, parsed.depth)
            for width in widths
            for hidden in range(width, 8 * width, max(2, width // 4))
        )
        return sx.nearest_shape(
            params, shapes, lambda shape: self.counts(shape).params, what=self.name
        )

    def counts(self, shape: Shape) -> sx.Counts:
        """Exact parameter counts: matrices, biases and the embedding."""
        embedding = shape.vocab * shape.width
        layers = sum((inputs + 1) * outputs for inputs, outputs in shape.matrices)
        return sx.Counts(embedding + layers, embedding, embedding + layers)

    def flops_per_unit(self, shape: Shape) -> float:
        """Six for each weight of a matrix: two forward, four for both gradients."""
        return 6.0 * sum(inputs * outputs for inputs, outputs in shape.matrices)

    def recipe(self, shape: Shape, units: float, data: sx.DataSpec) -> sx.Recipe:
        """Batch and learning rate: an example's; say here how yours were found."""
        del shape, units, data
        return sx.Recipe(batch=16, learning_rate=0.003)

    def build(self, shape: Shape, *, rngs: Any, compute: sx.Compute) -> Any:
        """The module."""
        from template_plugin.module import Net

        return Net(shape, rngs=rngs, dtype=compute.dtype)

    def sums(self, module: Any, batch: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """Summed cross-entropy in nats and right answers, and the tokens they are over."""
        from template_plugin.module import token_sums

        return token_sums(module, batch)
