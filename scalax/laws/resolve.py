"""Turns whatever a user gives as a law into a `Law`: a name, an object or a class."""

from __future__ import annotations

from typing import TypeAlias

from scalax import registry
from scalax.errors import ScalaxError
from scalax.laws.base import Law

LawLike: TypeAlias = str | Law | type[Law]
"""A registered name, a law, or a class whose constructor takes no arguments."""

RESERVED = ("auto", "posterior", "ensemble")
"""Names of estimators and results that are not law forms."""


def resolve_law(law: LawLike) -> Law:
    """Returns the law that a name, an object or a class stands for.

    Args:
        law: A registered name such as ``"chinchilla"``, a `Law`, or a subclass of it. An object or
            a class need not be registered.

    Raises:
        ScalaxError: The name is unknown, the class cannot be instantiated, or another law is
            registered under the same name.

    Example:
        >>> from scalax.laws.power import PowerParams
        >>> resolve_law("power-params").name, resolve_law(PowerParams).columns
        ('power-params', ('params',))
    """
    if isinstance(law, str):
        form: Law = registry.get("law", law)
        return form
    form = _instance(law)
    registered = _registered(form.name)
    if form.name in RESERVED or (registered is not None and type(registered) is not type(form)):
        raise ScalaxError(
            f"another law is named {form.name!r}",
            where=f"law {type(form).__name__}",
            fix="give its class another name",
        )
    return form


def saved_law(name: str, where: str) -> Law:
    """Returns the law that a saved fit names.

    Args:
        name: The name in the file.
        where: The file, for the error.

    Raises:
        ScalaxError: No law of this name is registered in this process.
    """
    try:
        registry.find("law", name)
    except ScalaxError as error:
        raise ScalaxError(
            f"the law {name!r} is not registered here",
            where=where,
            fix=f'sx.register("law", {name!r}, ITS_CLASS) before reading, or --plugin FILE.py; '
            f"{error.fix}",
        ) from None
    return resolve_law(name)


def _instance(law: Law | type[Law]) -> Law:
    if isinstance(law, Law):
        return law
    if not (isinstance(law, type) and issubclass(law, Law)):
        raise ScalaxError(
            f"expected the name of a law, a Law or a subclass of it, got {law!r}", where="law"
        )
    try:
        return law()
    except TypeError as error:
        raise ScalaxError(
            f"cannot be instantiated ({error})", where=f"law {law.__name__}", fix="give an instance"
        ) from error


def _registered(name: str) -> Law | None:
    """Returns the law registered under a name, or None."""
    known = {entry.name for entry in registry.entries("law")}
    if name not in known:
        return None
    form: Law = registry.get("law", name)
    return form
