"""A base for families that search for a shape of a target size and let options fix dimensions."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

from scalax.models.base import ModelFamily, require_features
from scalax.schema import Settings, parse
from scalax.shapes.base import DataSpec


class SizedFamily(ModelFamily):
    """A model family with a schema of options and a search; it implements `shape` and `size`.

    Subclass it for a family whose options may fix dimensions of the shape, such as its width.

    Class attributes:
        options: Schema of the family's own keys of ``[model]``.
        size_options: Names of the options that together determine the size; each defaults to
            None. Empty if no options determine it.
    """

    options: ClassVar[type[Settings]]
    size_options: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def search(self, params: float | None, options: Any, data: DataSpec) -> Any:
        """Returns the shape nearest to a target size.

        Args:
            params: Target for all parameters; None for the shape that the options determine.
            options: An instance of the class's ``options``.
            data: The data that the model reads and predicts; it has the class's ``features``.

        Raises:
            ScalaxError: The options contradict each other, or no shape is near the size.
        """

    def shape(self, params: float, options: Mapping[str, Any], data: DataSpec) -> Any:
        """Parses the options, checks the features and searches; see `ModelFamily.shape`."""
        return self._search(params, parse(self.options, options, where="model"), data)

    def size(self, options: Mapping[str, Any], data: DataSpec) -> float | None:
        """Returns the parameters that the options determine; see `ModelFamily.size`."""
        parsed = parse(self.options, options, where="model")
        values = [getattr(parsed, name) for name in self.size_options]
        if not values or None in values:
            return None
        return float(self.counts(self._search(None, parsed, data)).params)

    def _search(self, params: float | None, options: Settings, data: DataSpec) -> Any:
        require_features(self, data)
        return self.search(params, options, data)
