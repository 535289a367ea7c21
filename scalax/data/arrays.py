"""Makes a dataset from arrays in memory: `sx.arrays`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from scalax.data.base import Dataset, Example, Split
from scalax.errors import ScalaxError
from scalax.schema import Settings, parse
from scalax.shapes.base import DataSpec, Feature

Arrays = Mapping[str, Any] | tuple[Any, Any]
_TARGETS = ("label", "target", "tokens")


class _NoOptions(Settings):
    """A dataset without options."""


@dataclass(frozen=True)
class ArrayRows:
    """Examples by index: row i of each array.

    Attributes:
        arrays: Arrays [examples, ...] by feature.
    """

    arrays: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, index: int) -> Example:
        return {name: values[index] for name, values in self.arrays.items()}

    def __repr__(self) -> str:
        return f"ArrayRows({', '.join(self.arrays)}; {len(self)} examples)"


@dataclass(frozen=True)
class OpenArrays:
    """The arrays of both splits and their spec.

    Attributes:
        spec: The dataset's spec.
        splits: Examples by split.
    """

    spec: DataSpec
    splits: Mapping[Split, ArrayRows]

    def source(self, split: Split) -> ArrayRows:
        """Returns the examples of a split."""
        return self.splits[split]


class ArrayDataset(Dataset):
    """A dataset of arrays in memory; `arrays` creates it. It takes no options."""

    def __init__(
        self,
        splits: Mapping[Split, ArrayRows],
        unit: Literal["tokens", "examples"],
        classes: int,
        title: str,
    ) -> None:
        self.name, self.title = "", title  # type: ignore[misc]  # set by registration
        self._splits, self._unit, self._classes = splits, unit, classes
        self._fingerprint = _fingerprint(splits)

    def open(self, name: str, options: Mapping[str, Any]) -> OpenArrays:
        """Returns the arrays; see `Dataset.open`."""
        parse(_NoOptions, options, where="data")
        train = self._splits["train"].arrays
        features = {k: Feature(v.shape[1:], str(v.dtype)) for k, v in train.items()}
        tokens = features["tokens"].shape[0] - 1 if self._unit == "tokens" else 1
        spec = DataSpec(
            name=name,
            unit=self._unit,
            units_per_example=tokens,
            features=features,
            classes=self._classes,
            train_examples=len(self._splits["train"]),
            eval_examples=len(self._splits["eval"]),
            fingerprint=self._fingerprint,
        )
        return OpenArrays(spec, self._splits)


def arrays(
    train: Arrays,
    eval: Arrays,
    *,
    unit: Literal["tokens", "examples"] | None = None,
    classes: int | None = None,
    title: str = "arrays in memory",
) -> ArrayDataset:
    """Creates a dataset from arrays, to be registered under a name.

    Integers become int32 and other numbers float32. The fingerprint is a hash of the content, so
    changed arrays are different data.

    Args:
        train: Arrays [examples, ...] to train on, by feature name; or a pair of inputs and labels.
            The inputs of a pair are named ``image`` if they are [examples, height, width,
            channels] and ``input`` otherwise, the labels ``label``.
        eval: Held-out arrays of the same names, shapes and dtypes.
        unit: Unit of training data; ``tokens`` if the only feature is ``tokens`` [examples,
            length + 1], ``examples`` otherwise.
        classes: Vocabulary size or number of labels; by default one more than the largest integer
            of ``label``, ``target`` or ``tokens``, and 1 if none of these has integers.
        title: One line for listings.

    Returns:
        A dataset for `sx.register`.

    Raises:
        ScalaxError: The arrays are empty, differ in length or do not match between the splits.

    Example:
        >>> data = arrays((np.zeros((4, 2)), [0, 1, 2, 0]), (np.ones((2, 2)), [1, 1]))
        >>> spec = data.open("points", {}).spec
        >>> list(spec.features), spec.classes, spec.train_examples
        (['input', 'label'], 3, 4)
    """
    splits: dict[Split, ArrayRows] = {"train": _rows(train, "train"), "eval": _rows(eval, "eval")}
    first, second = (
        {k: (v.shape[1:], v.dtype) for k, v in s.arrays.items()} for s in splits.values()
    )
    if first != second:
        raise ScalaxError(
            f"expected the same features in both splits, got {_describe(first)} to train on and "
            f"{_describe(second)} held out",
            where="arrays",
        )
    unit = unit or ("tokens" if set(first) == {"tokens"} else "examples")
    if unit == "tokens" and len(first.get("tokens", ((),))[0]) != 1:
        raise ScalaxError(
            "a unit of tokens requires a feature 'tokens' of [examples, length + 1]",
            where="arrays",
            fix='name the array "tokens", or write unit="examples"',
        )
    return ArrayDataset(splits, unit, classes or _classes(splits), title)


def _rows(data: Arrays, split: Split) -> ArrayRows:
    if not isinstance(data, Mapping):
        inputs, labels = data
        named = {"image" if np.ndim(inputs) == 4 else "input": inputs, "label": labels}
    else:
        named = dict(data)
    values = {name: _plain(array, f"arrays: {name} of {split!r}") for name, array in named.items()}
    lengths = {name: len(array) for name, array in values.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ScalaxError(
            f"expected arrays of equal length of 1 or more, got {lengths or 'no array'}",
            where=f"arrays: {split}",
        )
    return ArrayRows(values)


def _plain(values: Any, where: str) -> np.ndarray:
    """Returns the array as int32 or float32."""
    array = np.asarray(values)
    if array.ndim == 0 or array.dtype.kind not in "biuf":
        raise ScalaxError(
            f"expected an array of numbers, one row per example, got {array.dtype} "
            f"{list(array.shape)}",
            where=where,
        )
    return np.ascontiguousarray(array, np.float32 if array.dtype.kind == "f" else np.int32)


def _classes(splits: Mapping[Split, ArrayRows]) -> int:
    largest = [
        int(rows.arrays[name].max())
        for rows in splits.values()
        for name in _TARGETS
        if name in rows.arrays and rows.arrays[name].dtype == np.int32
    ]
    return max(largest, default=0) + 1


def _describe(features: Mapping[str, tuple[tuple[int, ...], Any]]) -> str:
    return ", ".join(f"{name} {dtype}{list(dims)}" for name, (dims, dtype) in features.items())


def _fingerprint(splits: Mapping[Split, ArrayRows]) -> str:
    digest = hashlib.sha256()
    for split in get_args(Split):
        for name, array in sorted(splits[split].arrays.items()):
            digest.update(f"{split} {name} {array.dtype} {array.shape}\n".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()[:32]
