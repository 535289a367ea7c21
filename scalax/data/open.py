"""Opens a dataset by name, and holds what it gives to what it says before anything reads on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from scalax import registry
from scalax.data.base import OpenDataset, Split
from scalax.errors import ScalaxError
from scalax.shapes.base import DataSpec


def open_dataset(name: str, options: Mapping[str, Any]) -> OpenDataset:
    """The dataset that a ``[data]`` section names.

    Args:
        name: What the user wrote, such as ``tfds:mnist``.
        options: The keys of ``[data]`` other than ``dataset``.

    Raises:
        ScalaxError: No such dataset, an option is wrong, or a split is empty or does not hold
            what the dataset's spec says.
    """
    entry = registry.find("dataset", name)
    found: OpenDataset = entry.load().open(name, options)
    where = entry.where
    spec = found.spec
    if not isinstance(spec, DataSpec):
        raise ScalaxError(f"expected spec to be a DataSpec, got {spec!r}", where=where)
    if spec.unit not in ("tokens", "examples") or spec.units_per_example < 1 or spec.classes < 1:
        raise ScalaxError(
            f"expected a unit of tokens or examples, and units_per_example and classes of 1 or "
            f"more, got {spec.unit!r}, {spec.units_per_example} and {spec.classes}",
            where=f"{where}: spec",
        )
    said = {"train": spec.train_examples, "eval": spec.eval_examples}
    for split in get_args(Split):
        source = found.source(split)
        if len(source) < 1:
            raise ScalaxError(f"yields nothing: split {split!r} has no example", where=where)
        if len(source) != said[split]:
            raise ScalaxError(
                f"spec says {said[split]} examples of {split!r}, its source has {len(source)}",
                where=where,
            )
        demand_features(spec, source[0], f"{where}: example 0 of {split!r}")
    return found


def demand_features(spec: DataSpec, example: Mapping[str, Any], where: str) -> None:
    """Raises a ScalaxError where an example is not as its dataset's spec says."""
    if example.keys() != spec.features.keys():
        raise ScalaxError(
            f"expected features {', '.join(spec.features)}, got {', '.join(example) or 'none'}",
            where=where,
        )
    for name, feature in spec.features.items():
        value = example[name]
        shape, dtype = np.shape(value), getattr(value, "dtype", type(value).__name__)
        if shape != tuple(feature.shape) or str(dtype) != feature.dtype:
            raise ScalaxError(
                f"expected {name} to be {feature.dtype} {list(feature.shape)}, got {dtype} "
                f"{list(shape)}",
                where=where,
            )
