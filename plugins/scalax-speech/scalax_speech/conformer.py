"""The `conformer` family: keyword recognition by convolution and attention.

`shape` counts parameters and FLOPs; `module` is the network. Importing this file does not import
jax.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, field_validator

import scalax as sx
from scalax_speech.shape import ConformerShape, counts, flops_per_example, shape_for


class _Options(sx.Settings):
    layers: int | None = Field(None, ge=1)
    kernel: int = Field(9, ge=3)

    @field_validator("kernel")
    @classmethod
    def _odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError("an odd number, so that the kernel has a centre")
        return kernel


class Conformer(sx.ModelFamily):
    """Conformer blocks (Gulati et al. 2020, arXiv:2005.08100), pooled over time to a keyword.

    Two strided convolutions reduce the frames to a quarter. Each block has half a feed-forward
    step, attention, a depthwise convolution and another half feed-forward step. Differences from
    the paper: every norm is an RMSNorm, including the convolution's BatchNorm; positions are rotary
    (as in Li et al. 2021, arXiv:2107.05907); the strided convolutions run over time, with the mels
    as channels; there are no biases and no dropout; a mean over time replaces the transducer.
    Options of ``[model]``: ``layers`` (chosen to meet the size), and ``kernel``, the steps of 40 ms
    that the depthwise convolution spans (9; the paper's 32 are for longer sounds).
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "conformer"
    title: ClassVar[str] = "convolution and attention over log-mel features, to a keyword"
    features: ClassVar[tuple[str, ...]] = ("features", "label")
    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "error_rate")
    trial: ClassVar[sx.Trial] = sx.Trial(
        (2e4, 1e5, 1e6, 1e7), {"dataset": "synthetic-commands", "voices": 4}, steps=60
    )
    rules: ClassVar[Mapping[str, str | None]] = {
        "layers": None,
        "span": None,
        "inputs": None,
        "embed": "fsdp",
        "mlp": "tensor",
        "heads": "tensor",
        "head_dim": None,
        "channels": "tensor",
        "classes": None,
        "norm": None,
    }

    def shape(self, params: float, options: Mapping[str, Any], data: sx.DataSpec) -> ConformerShape:
        """Returns the Conformer of a target size; see `ModelFamily.shape`."""
        parsed = sx.parse_settings(_Options, options, where="model")
        sx.require_features(self, data)
        sizes = data.features["features"].shape
        if len(sizes) != 2:
            raise sx.ScalaxError(
                f"wrong shape of feature 'features' of {data.name} (expected [frames, mels], got "
                f"{list(sizes)})",
                where=f"model.family {self.name!r}",
                fix="choose another family or dataset",
            )
        frames, mels = sizes
        return shape_for(
            params,
            frames=frames,
            mels=mels,
            classes=data.classes,
            layers=parsed.layers,
            kernel=parsed.kernel,
        )

    def counts(self, shape: ConformerShape) -> sx.Counts:
        """Returns exact parameter counts."""
        return counts(shape)

    def flops_per_unit(self, shape: ConformerShape) -> float:
        """Returns training FLOPs per example."""
        return flops_per_example(shape)

    def recipe(self, shape: ConformerShape, units: float, data: sx.DataSpec) -> sx.Recipe:
        """Returns AdamW with rate 0.16 / width and batches that grow with the root of the examples.

        Measured on `synthetic-commands` with rates of 0.004, 0.008 and 0.016 and batches of 16, 32
        and 64. The best rate is 0.008 for 29,592 parameters (width 24) and 0.004 for 119,360 (width
        40). The best batch is 16 for 6,000 examples and 32 for 24,000.
        """
        del data
        batch = 2 ** round(math.log2(math.sqrt(units) / 5))
        return sx.Recipe(
            batch=max(16, batch), learning_rate=0.16 / shape.width, weight_decay=0.1, beta2=0.99
        )

    def build(self, shape: ConformerShape, *, rngs: Any, compute: sx.Compute) -> Any:
        """Builds the module; see `scalax_speech.module.Recogniser`."""
        from scalax_speech.module import Recogniser

        return Recogniser(shape, rngs=rngs, compute=compute)

    def sums(self, module: Any, batch: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """Returns cross-entropy in nats, right answers and wrong answers, summed over examples."""
        return sx.label_sums(module(batch["features"]), batch["label"], batch["mask"])
