"""The public names: all that type checkers see can be had, and nothing else is promised."""

from __future__ import annotations

import scalax


def test_every_public_name_loads_and_is_listed() -> None:
    assert sorted([*scalax._PUBLIC, "__version__"]) == scalax.__all__
    for name in scalax.__all__:
        assert getattr(scalax, name) is not None
