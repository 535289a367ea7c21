"""Opens a dataset by name and checks that its examples match its spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from scalax import registry
from scalax.data.base import OpenDataset, Split
from scalax.errors import ScalaxError
from scalax.shapes.base import DataSpec


def open_dataset(name: str, options: Mapping[str, Any]) -> OpenDataset:
    """Opens the dataset that a ``[data]`` section names.

    Args:
        name: The name that the user wrote, such as ``tfds:mnist``.
        options: The keys of ``[data]``, without ``dataset``.

    Raises:
        ScalaxError: There is no such dataset, an option is invalid, or a split is empty or does
            not match the dataset's spec.
    """
    entry = registry.find("dataset", name)
    dataset: OpenDataset = entry.load().open(name, options)
    where = entry.where
    spec = dataset.spec
    if not isinstance(spec, DataSpec):
        raise ScalaxError(f"expected spec to be a DataSpec, got {spec!r}", where=where)
    if spec.unit not in ("tokens", "examples") or spec.units_per_example < 1 or spec.classes < 1:
        raise ScalaxError(
            f"expected a unit of tokens or examples, and units_per_example and classes of 1 or "
            f"more, got {spec.unit!r}, {spec.units_per_example} and {spec.classes}",
            where=f"{where}: spec",
        )
    stated = {"train": spec.train_examples, "eval": spec.eval_examples}
    for split in get_args(Split):
        source = dataset.source(split)
        if len(source) < 1:
            raise ScalaxError(f"yields nothing: split {split!r} has no example", where=where)
        if len(source) != stated[split]:
            raise ScalaxError(
                f"spec says {stated[split]} examples of {split!r}, but the source has "
                f"{len(source)}",
                where=where,
            )
        check_example(spec, source[0], f"{where}: example 0 of {split!r}")
    return dataset


def check_example(spec: DataSpec, example: Mapping[str, Any], where: str) -> None:
    """Checks that an example has the features, shapes and dtypes of its dataset's spec.

    Raises:
        ScalaxError: It has others.
    """
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
