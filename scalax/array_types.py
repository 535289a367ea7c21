"""Array types that state shapes, such as ``Float[np.ndarray, "rows coefficients"]``.

They are jaxtyping's, for type checkers and for the tests, which check them at run time with
beartype. Importing jaxtyping takes 60 ms and annotations are not evaluated otherwise, so a query
gets placeholders instead.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

CHECKED = bool(os.environ.get("SCALAX_CHECK_SHAPES"))
"""Whether this process checks shapes at run time; set by the environment variable of that name."""

if TYPE_CHECKING or CHECKED:
    from jaxtyping import Bool as Bool
    from jaxtyping import Float as Float
    from jaxtyping import Int as Int
    from jaxtyping import Num as Num
    from jaxtyping import Shaped as Shaped

if TYPE_CHECKING:
    import jax
    import numpy as np

    AnyArray = np.ndarray | jax.Array
    Array = float | AnyArray
else:
    AnyArray = Array = Any
"""`AnyArray`: a numpy or jax array, for annotations such as ``Float[AnyArray, "batch length"]``.

`Array`: a number or such an array, as arguments of a law, which broadcast against each other.

At run time both are `Any`, because a check of the class would import jax; jaxtyping still checks
shapes and dtypes.
"""

if not (TYPE_CHECKING or CHECKED):

    class _Placeholder:
        def __class_getitem__(cls, item: Any) -> Any:
            return Any

    Bool = Float = Int = Num = Shaped = _Placeholder
