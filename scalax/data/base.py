"""The interface of a dataset: a spec and examples by index."""

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
    """Examples by index, read in constant time. An index always gives the same example."""

    def __len__(self) -> int:
        """Returns the number of examples."""

    def __getitem__(self, index: int, /) -> Example:
        """Returns one example: an array for each feature of the dataset's spec."""


class Dataset(abc.ABC):
    """Training and held-out examples, read by index. Subclass it to add a dataset.

    A registered dataset is not read yet: `open` reads it with the options of a user's ``[data]``.

    Class attributes:
        name: The name that a user writes.
        title: One line for listings.
        trial: Keys of ``[data]``, without ``dataset``, for `scalax plugins check`.
        interface: Version of this interface that the class was written for; 1 by default.
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str]
    title: ClassVar[str]
    trial: ClassVar[Mapping[str, Any]] = {}

    @abc.abstractmethod
    def open(self, name: str, options: Mapping[str, Any]) -> OpenDataset:
        """Opens the dataset and reads enough of it to state its spec.

        Args:
            name: The name that the user wrote, such as ``tfds:mnist``.
            options: The keys of ``[data]``, without ``dataset``.

        Raises:
            ScalaxError: An option is unknown or wrong, or the data is missing or empty.
        """


@runtime_checkable
class OpenDataset(Protocol):
    """A dataset whose spec is known and whose examples can be read."""

    @property
    def spec(self) -> DataSpec:
        """Unit, features and numbers of examples."""

    def source(self, split: Split) -> Source:
        """Returns the examples of a split."""
