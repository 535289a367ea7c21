"""Makes a law from a formula: parses the text and infers the coefficients.

`law` is exported as `scalax.law`. A sum of power terms becomes a `PowerLaw`; any other formula
becomes a `FormulaLaw`, with linear coefficients where it has any. The grammar is in
`scalax.laws.formula_syntax`; roles, bounds and grids are inferred in `scalax.laws.formula_roles`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from scalax.errors import ScalaxError, suggest
from scalax.laws.base import Array, Coefficient, Law
from scalax.laws.formula_roles import Roles, infer_roles
from scalax.laws.formula_syntax import (
    COLUMNS,
    SYMBOLS,
    Column,
    Node,
    Unknown,
    evaluate,
    formula_error,
    parse,
    walk,
)
from scalax.laws.power_law import PowerLaw
from scalax.laws.typical_values import draw_columns, draw_truth

_NAMED = re.compile(r"\s*([A-Za-z][\w.-]*)\s*=\s*(.*)", re.DOTALL)
_SAME = 1e-11
_SEED = 12


def law(
    name: str,
    formula: str,
    *,
    columns: Sequence[str] = (),
    bounds: Mapping[str, tuple[float, float]] | None = None,
    grids: Mapping[str, Sequence[float]] | None = None,
    typical: Mapping[str, tuple[float, float]] | None = None,
    title: str | None = None,
    source: str = "a formula",
) -> Law:
    """Makes a law from a formula.

    ``N`` (or ``params``), ``D`` (``tokens``) and ``C`` (``flops``) are columns, and so are
    ``params_active``, ``params_embedding`` and ``unique_tokens``. Write any other column in
    brackets, such as ``[hours]``, or list it in ``columns``. Every other name is a coefficient.
    Allowed are ``+ - * / **`` (or ``^``), parentheses, numbers, and the functions exp, expm1, log,
    log1p, sqrt and tanh. The formula is parsed, never evaluated as code.

    Args:
        name: The name of the law in answers.
        formula: The loss, such as ``"E + A/N**alpha + B/D**beta"``.
        columns: Further columns of the runs table that the formula reads.
        bounds: Least and greatest value of a coefficient, where the inferred bounds don't fit.
        grids: Starting values of a coefficient that is not linear.
        typical: Plausible range of a coefficient or a column, for checks and synthetic sweeps.
        title: One line for a listing.
        source: Paper and equation.

    Returns:
        A law for `scalax.fit`, `scalax.register` and wherever a law is expected.

    Raises:
        ScalaxError: The formula is not valid, or its coefficients cannot be identified; gives the
            position.

    Example:
        >>> cross = law("cross", "E + A/N**alpha + B/D**beta + G/(N**g * D**g)")
        >>> [c.name for c in cross.coefficients]
        ['E', 'A', 'alpha', 'B', 'beta', 'G', 'g']
        >>> cross.columns
        ('params', 'tokens')
    """
    text = formula.strip()
    tree = parse(text, columns)
    read = list(dict.fromkeys(node.name for node in walk(tree) if isinstance(node, Column)))
    unknown = {n.name: n for n in reversed(list(walk(tree))) if isinstance(n, Unknown)}
    first = 1
    if not read:
        raise formula_error(
            text, first, "no column of the runs table", "name N, D, C or a column as [NAME]"
        )
    if not unknown:
        raise formula_error(
            text, first, "no coefficient", "name the coefficients to fit, as in E + A/N**alpha"
        )
    roles = infer_roles(tree, tuple(read), typical or {})
    names = [c.name for c in roles.coefficients]
    for option, given in (("bounds", bounds), ("grids", grids)):
        for coefficient in given or {}:
            if coefficient not in names:
                raise ScalaxError(
                    f"the formula has no coefficient {coefficient!r}",
                    where=option,
                    fix=suggest(coefficient, names),
                )
    coefficients = tuple(
        _with_options(c, (bounds or {}).get(c.name), (grids or {}).get(c.name))
        for c in roles.coefficients
    )
    ranges = dict(roles.typical)
    for c in coefficients:
        low, high = ranges[c.name]
        ranges[c.name] = min(max(low, c.low), c.high), max(min(high, c.high), c.low)
    made = _make(
        name=name,
        text=_bracketed(text, columns),
        tree=tree,
        roles=roles,
        columns=tuple(sorted(read, key=_column_order)),
        coefficients=coefficients,
        typical=ranges,
        title=title or f"a formula of {', '.join(sorted(read, key=_column_order))}",
        source=source,
    )
    _require_identifiable(made, tree, text, unknown)
    return made


def law_from_text(text: str) -> Law:
    """Makes a law from ``FORMULA`` or ``NAME = FORMULA``, as `Law.reference` writes it.

    Example:
        >>> law_from_text("cross = E + A/N**alpha").name
        'cross'
    """
    named = _NAMED.fullmatch(text)
    if named is None:
        return law(text.strip(), text)
    return law(named[1], named[2])


class FormulaLaw(Law):
    """A law whose loss is a parsed formula, linear in some of its coefficients.

    Class attributes:
        tree: The parsed formula.
        roles: Which coefficients are linear, and the terms they are in.
    """

    tree: ClassVar[Node]
    roles: ClassVar[Roles]

    def loss(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> Array:
        """The loss; see `Law.loss`."""
        return evaluate(self.tree, xp, c, x)

    def basis(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> list[Array]:
        """The term of each linear coefficient, with the coefficient set to 1; see `Law.basis`."""
        return [
            sign * evaluate(term, xp, {**c, name: 1.0}, x)
            for name, (sign, term) in self.roles.linear_terms.items()
        ]

    def target(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array], loss: Array) -> Array:
        """The loss without the terms that have no linear coefficient."""
        for sign, term in self.roles.other_terms:
            loss = loss - sign * evaluate(term, xp, c, x)
        return loss


class _PowerFormula(PowerLaw):
    """A formula that is a sum of power terms."""


def _make(*, name: str, text: str, tree: Node, roles: Roles, **attributes: Any) -> Law:
    """Returns an instance of a new class with these class attributes."""
    base: type[Law] = FormulaLaw if roles.form is None else _PowerFormula
    namespace = {
        "__module__": "scalax_formula",
        "__doc__": f"L = {text}",
        "interface": 1,
        "name": name,
        "equation": f"L = {text}",
        "reference": text if name == text else f"{name} = {text}",
        "form": roles.form,
        "tree": tree,
        "roles": roles,
        **attributes,
    }
    made: Law = type("Formula", (base,), namespace)()
    type(made).falls_with = _falling_columns(made)
    return made


def _with_options(
    c: Coefficient, bounds: tuple[float, float] | None, grid: Sequence[float] | None
) -> Coefficient:
    if bounds is not None:
        least = -np.inf if c.role == "exponent" else 0.0
        if not least < bounds[0] < bounds[1]:
            raise ScalaxError(
                f"expected {'a positive low' if least == 0 else 'low'} below high, got {bounds}",
                where=f"bounds {c.name}",
            )
        c = replace(c, low=float(bounds[0]), high=float(bounds[1]))
    if grid is not None and c.role != "linear":
        c = replace(c, grid=tuple(map(float, grid)))
    return c


def _bracketed(text: str, columns: Sequence[str]) -> str:
    """Returns the formula with brackets around columns that are not known without them."""
    for name in set(columns) - set(COLUMNS) - set(SYMBOLS):
        text = re.sub(rf"(?<![\w\[]){re.escape(name)}(?![\w\]])", f"[{name}]", text)
    return text


def _column_order(name: str) -> tuple[int, str]:
    return (COLUMNS.index(name) if name in COLUMNS else len(COLUMNS), name)


def _draws(made: Law, rows: int) -> list[tuple[dict[str, float], dict[str, np.ndarray]]]:
    rng = np.random.default_rng(_SEED)
    return [(draw_truth(made, rng), draw_columns(made, rng, rows)) for _ in range(6)]


def _falling_columns(made: Law) -> tuple[str, ...]:
    """The columns in which the loss never rises, at values drawn from the typical ranges."""

    def falls(name: str) -> bool:
        for c, x in _draws(made, 40):
            for factor in (1.01, 1.5, 10.0):
                with np.errstate(all="ignore"):
                    more = made.loss(np, c, {**x, name: x[name] * factor})
                    rise = np.asarray(more) / np.asarray(made.loss(np, c, x)) - 1
                if not np.all(rise <= 1e-12):
                    return False
        return True

    return tuple(name for name in made.columns if falls(name))


def _require_identifiable(made: Law, tree: Node, text: str, unknown: Mapping[str, Unknown]) -> None:
    """Raises if some combination of coefficients can change without changing the loss.

    The derivatives of log loss are exact: the formula's functions accept complex numbers.
    """
    names = [c.name for c in made.coefficients]
    step = 1e-30
    for c, x in _draws(made, 8 * len(names) + 32):
        columns = []
        for spec in made.coefficients:
            change = step * c[spec.name] if spec.log else step
            with np.errstate(all="ignore"):
                moved: dict[str, Any] = {**c, spec.name: c[spec.name] + 1j * change}
                at = evaluate(tree, np, moved, x)
                columns.append(np.imag(np.log(at)) / step * np.ones_like(x[made.columns[0]]))
        jacobian = np.stack(columns, axis=1)
        if not np.isfinite(jacobian).all():
            continue
        length = np.linalg.norm(jacobian, axis=0)
        for name, size in zip(names, length, strict=True):
            if size == 0:
                raise formula_error(
                    text, unknown[name].position, f"{name} does not change the loss"
                )
        _, sizes, right = np.linalg.svd(jacobian / length)
        if sizes[-1] > _SAME * sizes[0]:
            return
        involved = [n for n, part in zip(names, right[-1], strict=True) if abs(part) > 1e-3]
        last = max((unknown[n] for n in involved), key=lambda n: n.position)
        raise formula_error(
            text,
            last.position,
            f"no data can identify {' and '.join(involved)} separately",
            f"write one coefficient, or a number, instead of {last.name}",
        )
