"""The `convnet` family: image classifiers from the classic MNIST net up.

`convnet_shape` counts parameters and FLOPs; `convnet_module` is the network. Importing this file
does not import jax.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import scalax as sx
from scalax_vision.classify import Classifier, root_batch
from scalax_vision.convnet_shape import ConvShape, counts, flops_per_example, shape_for
from scalax_vision.convolution import RULES


class _Options(sx.Settings):
    """The family has no options of its own."""


class ConvNet(Classifier):
    """Two convolutions with ReLU and max-pooling, then two linear layers.

    Its smallest member on MNIST has 10 and 20 channels, 5x5 kernels and 10 hidden units (8,600
    parameters); larger ones widen all three. ``[model]`` takes no options.
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "convnet"
    title: ClassVar[str] = "two convolutions and two linear layers over images"
    options: ClassVar[type[sx.Settings]] = _Options
    trial: ClassVar[sx.Trial] = sx.Trial((3e3, 1e4, 1e5, 1e6, 1e7), {"dataset": "digits"})
    rules: ClassVar[Mapping[str, str | None]] = RULES

    def search(self, params: float | None, options: _Options, data: sx.DataSpec) -> ConvShape:
        """Returns the net of a target size; see `sx.SizedFamily.search`."""
        del options
        assert params is not None  # no options determine the size
        return shape_for(params, image=self.image(data), classes=data.classes)

    def counts(self, shape: ConvShape) -> sx.Counts:
        """Returns exact parameter counts."""
        return counts(shape)

    def flops_per_unit(self, shape: ConvShape) -> float:
        """Returns training FLOPs per example."""
        return flops_per_example(shape)

    def recipe(self, shape: ConvShape, units: float, data: sx.DataSpec) -> sx.Recipe:
        """Returns hyperparameters for large or small images.

        Images of 16 pixels or more (5x5 kernels) use the classic recipe of the MNIST net at every
        size: SGD at learning rate 0.001, momentum 0.9, batches of 100, no warm-up, decay or
        clipping.

        Smaller images (3x3 kernels) use AdamW at 0.008 and batches that grow with the square root
        of the examples: 16 for 8,000 and 32 for 32,000. Measured on `digits` with 2,840 and 24,000
        parameters, 2,000 to 32,000 examples, learning rates 0.002 to 0.016. SGD was worse.
        """
        del data
        if shape.padding == "VALID":
            return sx.Recipe(
                batch=100,
                learning_rate=0.001,
                optimizer="sgd",
                warmup=0.0,
                weight_decay=0.0,
                beta1=0.9,
                clip=None,
            )
        return sx.Recipe(
            batch=root_batch(units, divisor=5, least=16),
            learning_rate=0.008,
            weight_decay=0.0,
            beta2=0.99,
        )

    def build(self, shape: ConvShape, *, rngs: Any, compute: sx.Compute) -> Any:
        """Builds the module; see `scalax_vision.convnet_module.Net`."""
        from scalax_vision.convnet_module import Net

        return Net(shape, rngs=rngs, dtype=compute.dtype)
