"""The `resnet` family: residual nets from a few thousand parameters to those of ImageNet.

`resnet_shape` counts parameters and FLOPs; `resnet_module` is the network. Importing this file
does not import jax.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

import scalax as sx
from scalax_vision.classify import PUBLISHED_FROM, Classifier, root_batch
from scalax_vision.convolution import RULES
from scalax_vision.resnet_search import shape_for
from scalax_vision.resnet_shape import ResNetShape, counts, flops_per_example

_Blocks = Annotated[int, Field(ge=1)]


class _Options(sx.Settings):
    width: int | None = Field(None, ge=2)
    blocks: _Blocks | list[_Blocks] | None = None
    block: Literal["basic", "bottleneck"] = "basic"


class ResNet(Classifier):
    """Residual nets with a group norm after each convolution (post-activation, version 1.5).

    Options of ``[model]``: ``width`` (channels of stem and first stage, 64 in the paper),
    ``blocks`` (blocks of each stage, one number or a list) and ``block`` ("basic" or
    "bottleneck"). ``width = 64`` with ``blocks = [2, 2, 2, 2]`` is ResNet-18; with
    ``[3, 4, 6, 3]`` and bottlenecks it is ResNet-50.

    Group norm (Wu and He 2018, arXiv:1803.08494) replaces the paper's batch norm. With batch norm
    the output for an image depends on the other images of its batch: masked examples would count,
    and the loss would change with the sharding of a batch.
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "resnet"
    title: ClassVar[str] = "residual nets with group norm over images"
    options: ClassVar[type[sx.Settings]] = _Options
    size_options: ClassVar[tuple[str, ...]] = ("width", "blocks")
    trial: ClassVar[sx.Trial] = sx.Trial((3e3, 1e4, 1e5, 1e6, 1e7), {"dataset": "digits"})
    rules: ClassVar[Mapping[str, str | None]] = {**RULES, "layers": None, "norm": None}

    def search(self, params: float | None, options: _Options, data: sx.DataSpec) -> ResNetShape:
        """Returns the net of a target size; see `sx.SizedFamily.search`."""
        return shape_for(
            params,
            image=self.image(data),
            classes=data.classes,
            width=options.width,
            blocks=options.blocks,
            bottleneck=options.block == "bottleneck",
        )

    def counts(self, shape: ResNetShape) -> sx.Counts:
        """Returns exact parameter counts."""
        return counts(shape)

    def flops_per_unit(self, shape: ResNetShape) -> float:
        """Returns training FLOPs per example."""
        return flops_per_example(shape)

    def recipe(self, shape: ResNetShape, units: float, data: sx.DataSpec) -> sx.Recipe:
        """Returns hyperparameters for large or small images.

        Images of 16 pixels or more use the published recipe: SGD with momentum 0.9 and learning
        rate 0.1; batches of 128 (CIFAR-10, He et al. 2015, section 4.2) or, from 64 pixels on, 256
        (ImageNet, section 3.4); and a warm-up (Goyal et al. 2017, arXiv:1706.02677). The paper's
        weight decay of 0.0001 is multiplied by ten through the momentum; decoupled it is 0.001.

        Smaller images use AdamW. The learning rate is 0.008 at 8,000 parameters, falls with their
        square root and is at most 0.016. Batches grow with the square root of the examples, 8 for
        8,000. Measured by ``experiments/digits-rates.toml``.
        """
        del data
        if min(shape.image[:2]) >= PUBLISHED_FROM:
            return sx.Recipe(
                batch=256 if shape.large else 128,
                learning_rate=0.1,
                optimizer="sgd",
                warmup=0.05,
                weight_decay=0.001,
                beta1=0.9,
                clip=None,
            )
        rate = 0.008 * math.sqrt(8000 / counts(shape).params)
        return sx.Recipe(
            batch=root_batch(units, divisor=10, least=4),
            learning_rate=min(0.016, rate),
            weight_decay=0.0,
            beta2=0.99,
        )

    def build(self, shape: ResNetShape, *, rngs: Any, compute: sx.Compute) -> Any:
        """Builds the module; see `scalax_vision.resnet_module.ResNet`."""
        from scalax_vision.resnet_module import ResNet as Module

        return Module(shape, rngs=rngs, compute=compute)
