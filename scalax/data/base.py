"""What every dataset provides: what it holds, and its examples by index."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from scalax.shapes.base import DataSpec

Split = Literal["train", "eval"]
Example = dict[str, np.ndarray]


@runtime_checkable
class Source(Protocol):
    """Examples by index, in constant time; the same index is always the same example."""

    def __len__(self) -> int:
        """How many examples there are."""

    def __getitem__(self, index: int, /) -> Example:
        """One example: an array for each feature of the dataset's spec."""


class Dataset(abc.ABC):
    """Examples to train on and held-out ones, read by index. Subclass it to add one.

    The registry holds a maker: an object whose `open` gives the dataset for a user's ``[data]``.

    Class attributes:
        name: What a user writes.
        title: One line for a listing.
        trial: The keys of ``[data]`` that it is checked with, ``dataset`` aside.
        interface: Version of this interface that it was written for; 1 where it says nothing.
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str]
    title: ClassVar[str]
    trial: ClassVar[Mapping[str, Any]] = {}

    @abc.abstractmethod
    def open(self, name: str, options: Mapping[str, Any]) -> OpenDataset:
        """Reads what is needed to know the dataset.

        Args:
            name: What the user wrote, such as ``tfds:mnist``.
            options: The keys of ``[data]`` other than ``dataset``.

        Raises:
            ScalaxError: An option is unknown or wrong, or the data is missing or empty.
        """


@runtime_checkable
class OpenDataset(Protocol):
    """A dataset that was found and understood."""

    @property
    def spec(self) -> DataSpec:
        """What it holds."""

    def source(self, split: Split) -> Source:
        """The examples of a split."""
