"""The run-time type checker of the tests: beartype, with an int accepted for a float (PEP 484)."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
TYPE_CHECKER = f"{__name__}.check"
"""What jaxtyping's import hook looks it up by."""
