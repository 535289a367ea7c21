"""The run-time type checker of the tests: beartype, with an int accepted for a float (PEP 484).

A bucket's path is annotated as `Path`, whose methods it has, but is only a `PurePath` at run time
(`scalax.files.place` casts it).
"""

from pathlib import Path, PurePath

from beartype import BeartypeConf, FrozenDict, beartype

check = beartype(
    conf=BeartypeConf(is_pep484_tower=True, hint_overrides=FrozenDict({Path: PurePath}))
)
TYPE_CHECKER = f"{__name__}.check"
"""What jaxtyping's import hook looks it up by."""
