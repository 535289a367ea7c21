"""Turns a name, a formula, an object or a class into a `Law`."""

from __future__ import annotations

import re
from typing import TypeAlias

from scalax import registry
from scalax.errors import ScalaxError
from scalax.laws.base import Law

LawLike: TypeAlias = str | Law | type[Law]
"""A registered name, a formula, a law, or a class whose constructor takes no arguments."""

RESERVED = ("auto", "posterior", "ensemble")
"""Names of estimators and results that are not law forms."""


def resolve_law(law: LawLike) -> Law:
    """Returns the law for a name, a formula, an object or a class.

    Args:
        law: A registered name such as ``"chinchilla"``, a formula such as ``"E + A/N**alpha"`` or
            ``"NAME = FORMULA"``, a `Law`, or a subclass of it. An object or a class need not be
            registered.

    Raises:
        ScalaxError: The name is unknown, the class cannot be instantiated, or another law is
            registered under the same name.

    Example:
        >>> from scalax.laws.power import PowerParams
        >>> resolve_law("power-params").name, resolve_law(PowerParams).columns
        ('power-params', ('params',))
        >>> resolve_law("E + A/N**alpha").columns
        ('params',)
    """
    if isinstance(law, str):
        if is_formula(law):
            from scalax.laws.formula import law_from_text

            return law_from_text(law)
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


def law_reference(law: Law) -> str:
    """Returns the string that `resolve_law` turns back into a law: its name, or its formula."""
    return law.reference or law.name


def is_formula(text: str) -> bool:
    """Whether the text of a law is a formula: it has an operator, a parenthesis or an equals sign.

    Example:
        >>> is_formula("E + A/N**alpha"), is_formula("broken-power")
        (True, False)
    """
    return re.fullmatch(r"[\w.]*(-[\w.]+)*(:[\w./-]*)?", text.strip()) is None


def saved_law(name: str, where: str) -> Law:
    """Returns the law that a saved fit names.

    Args:
        name: The name in the file.
        where: The file, for the error.

    Raises:
        ScalaxError: No law of this name is registered in this process.
    """
    if is_formula(name):
        return resolve_law(name)
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
            f"expected the name of a law, a Law or a subclass of it, got {law!r}",
            where="law",
            fix='name one, such as "chinchilla"; scalax laws lists them',
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
