"""Infers the coefficients of a parsed formula: their roles, bounds, grids and plausible ranges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from scalax.laws.base import Coefficient
from scalax.laws.coefficient import Role
from scalax.laws.formula_powers import power_sum, product_of
from scalax.laws.formula_syntax import (
    Binary,
    Call,
    Column,
    Node,
    Unknown,
    evaluate,
    summands,
    walk,
)
from scalax.laws.power_law import Exponent, PowerSum
from scalax.laws.typical_values import USUAL

_OTHER_COLUMN = (1e2, 1e6)
_FLOOR_GRID = (0.02, 0.3, 0.55, 0.75, 0.9)
_PLACE_GRID = (0.0, 0.15, 0.3, 0.5, 0.7, 0.85, 1.0)
_SCALE_GRID = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
_POINTS = {1: 30, 2: 30, 3: 12, 4: 7, 5: 5}
_FEWEST_POINTS = 4
_FLOOR = (1.0, 2.0)
_SHARE = (0.05, 0.5)


@dataclass(frozen=True)
class Roles:
    """The inferred coefficients of a formula.

    Attributes:
        coefficients: The coefficients in the order of the formula.
        typical: Plausible ranges of coefficients and columns.
        form: The sum of power terms, or None for another formula.
        linear_terms: Sign and term of each linear coefficient, in the order of ``coefficients``.
        other_terms: Signs and terms without a linear coefficient.
    """

    coefficients: tuple[Coefficient, ...]
    typical: Mapping[str, tuple[float, float]]
    form: PowerSum | None
    linear_terms: Mapping[str, tuple[float, Node]] = field(default_factory=dict)
    other_terms: tuple[tuple[float, Node], ...] = ()


def infer_roles(
    tree: Node, columns: tuple[str, ...], given: Mapping[str, tuple[float, float]]
) -> Roles:
    """Infers the coefficients of a formula.

    Args:
        tree: The formula.
        columns: The columns that it reads.
        given: Plausible ranges of coefficients and columns that replace the inferred ones.

    Returns:
        The coefficients, their ranges, and the sum of power terms if the formula is one.
    """
    names = list(dict.fromkeys(n.name for n in walk(tree) if isinstance(n, Unknown)))
    counts = Counter(n.name for n in walk(tree) if isinstance(n, Unknown))
    form = power_sum(tree, counts)
    linear: dict[str, tuple[float, Node]] = {}
    others: list[tuple[float, Node]] = []
    if form is None:
        for sign, term in summands(tree):
            free = [n for n in _numerators(term) if counts[n] == 1]
            linear |= {free[0]: (sign, term)} if free else {}
            others += [] if free else [(sign, term)]
        amounts = set(linear)
    else:
        amounts = {term.amount for term in form.terms}
    exponents = _exponents(tree) - amounts
    places = _places(tree)
    role: dict[str, Role] = {}
    for name in names:
        if name in amounts:
            role[name] = "linear"
        elif form is not None and name == form.floor:
            role[name] = "floor"
        elif name in exponents:
            role[name] = "exponent"
        else:
            role[name] = "place" if name in places else "scale"
    if form is not None:  # its factors are in the order of its coefficients
        order = {name: k for k, name in enumerate(names)}
        form = PowerSum(sorted(form.terms, key=lambda t: order[t.amount]), form.floor, form.outer)
    linear = {name: linear[name] for name in names if name in linear}
    typical = _typical(tree, names, role, columns, places, given, form, linear)
    points = _POINTS.get(sum(r == "exponent" for r in role.values()), _FEWEST_POINTS)
    signs = _signed(tree)
    outer = _coefficients_of(form.outer) if form is not None else set()
    bare = {term.name for _, term in summands(tree) if isinstance(term, Unknown)}
    coefficients = tuple(
        _coefficient(n, role[n], points, n in signs, n in outer, n in bare, places.get(n, ""))
        for n in names
    )
    return Roles(coefficients, typical, form, linear, tuple(others))


def _coefficient(
    name: str, role: Role, points: int, signed: bool, outer: bool, bare: bool, column: str
) -> Coefficient:
    if role == "linear":
        if bare:
            return Coefficient(name, role, 1e-9, 1e6, meaning="irreducible loss")
        return Coefficient(name, role, 1e-30, 1e60, meaning="size of its term")
    if role == "floor":
        return Coefficient(name, role, 1e-9, 1e6, _FLOOR_GRID, "irreducible loss")
    if role == "place":
        return Coefficient(name, role, 1e-6, 1e45, _PLACE_GRID, f"a value of {column}", column)
    if role == "scale":
        return Coefficient(name, role, 1e-12, 1e12, _SCALE_GRID, "a positive size")
    if outer:
        return Coefficient(name, role, 2e-2, 6.0, (0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5), "outer")
    grid = np.geomspace(0.03, 1.5, points)
    if signed:
        grid = np.concatenate([-grid[::-2], grid[::2]])
    values = tuple(round(float(v), 4) for v in grid)
    return Coefficient(name, role, -3.0 if signed else 1e-3, 6.0, values, "exponent")


def _numerators(node: Node) -> list[str]:
    """Returns the coefficients that multiply a term."""
    match node:
        case Unknown(name=name):
            return [name]
        case Binary(operator="*", left=left, right=right):
            return [*_numerators(left), *_numerators(right)]
        case Binary(operator="/", left=left):
            return _numerators(left)
    return []


def _exponents(tree: Node) -> set[str]:
    """Returns the coefficients in exponents: of ``**``, or in exp, expm1 or tanh of a logarithm."""
    names: set[str] = set()
    for node in walk(tree):
        if isinstance(node, Binary) and node.operator == "**":
            names |= {n.name for n in walk(node.right) if isinstance(n, Unknown)}
        elif isinstance(node, Call) and node.function in ("exp", "expm1", "tanh"):
            inner = list(walk(node.argument))
            if any(isinstance(n, Call) and n.function == "log" for n in inner):
                names |= {n.name for n in inner if isinstance(n, Unknown)}
    return names


def _places(tree: Node) -> dict[str, str]:
    """Returns the column that each coefficient is compared with, as in ``N / K`` or ``K / N``."""
    places = {}
    for node in walk(tree):
        match node:
            case Binary(operator="/", left=Column(name=column), right=Unknown(name=name)):
                places[name] = column
            case Binary(operator="/", left=Unknown(name=name), right=Column(name=column)):
                places[name] = column
    return places


def _signed(tree: Node) -> set[str]:
    """Returns the exponents that may be negative: those of a column in a numerator."""
    names: set[str] = set()

    def visit(node: Node, inverse: bool) -> None:
        match node:
            case Binary(operator="/", left=left, right=right):
                visit(left, inverse)
                visit(right, not inverse)
            case Binary(operator="**", left=left, right=Unknown(name=name)):
                bases = {type(n) for n in walk(left)}
                if Column in bases and not inverse and not _falling_base(left):
                    names.add(name)
                visit(left, inverse)
            case Binary(left=left, right=right):
                visit(left, inverse)
                visit(right, inverse)
            case Call(argument=argument):
                visit(argument, inverse)

    visit(tree, False)
    return names


def _falling_base(node: Node) -> bool:
    """Whether every column of a base is in a denominator, as in ``(K / N)**a``."""
    product = product_of(node)
    if product is None:  # a sum: an outer exponent
        return all(_falling_base(part) for _, part in summands(node)) and len(summands(node)) > 1
    return all(e.factor < 0 for (kind, _), e in product[1].items() if kind == "column")


def _coefficients_of(exponent: str | float | Exponent) -> set[str]:
    return set(Exponent.of(exponent).powers)


def _typical(
    tree: Node,
    names: list[str],
    role: Mapping[str, Role],
    columns: tuple[str, ...],
    places: Mapping[str, str],
    given: Mapping[str, tuple[float, float]],
    form: PowerSum | None,
    linear: Mapping[str, tuple[float, Node]],
) -> dict[str, tuple[float, float]]:
    """Returns ranges in which every term matters at the middle of the columns' ranges."""
    typical = {k: USUAL.get(k, _OTHER_COLUMN) for k in columns} | dict(given)
    middle: dict[str, float] = {k: float(np.sqrt(np.prod(typical[k]))) for k in columns}
    shared = _exponents_of_products(tree)
    outer = _coefficients_of(form.outer) if form is not None else set()
    bare = {term.name for _, term in summands(tree) if isinstance(term, Unknown)}
    for name in names:
        if role[name] == "exponent":
            small = (0.1, 0.25) if name in shared else (0.25, 0.5)
            typical.setdefault(name, (0.4, 1.5) if name in outer else small)
        elif role[name] == "place":
            low, high = np.log(typical[places[name]])
            ends = np.exp([low + 0.3 * (high - low), low + 0.7 * (high - low)])
            typical.setdefault(name, (float(ends[0]), float(ends[1])))
        elif role[name] == "floor" or name in bare:
            typical.setdefault(name, _FLOOR)
        elif role[name] == "scale":
            typical.setdefault(name, (0.5, 2.0))
    c = {name: float(np.mean(typical[name])) for name in names if name in typical}
    for name in names:
        if name in typical:
            continue
        if form is not None:
            term = next(t for t in form.terms if t.amount == name)
            power = 1 / float(np.asarray(Exponent.of(term.amount_power).value(c)))
            size = float(np.exp(-power * np.asarray(term.log_factor(np, c, middle))))
            root = power / float(np.asarray(Exponent.of(form.outer).value(c)))
            typical[name] = size * _SHARE[0] ** root, size * _SHARE[1] ** root
        else:
            _, node = linear[name]
            with np.errstate(all="ignore"):
                factor = abs(float(np.asarray(evaluate(node, np, {**c, name: 1.0}, middle))))
            size = 1 / factor if np.isfinite(factor) and factor > 0 else 1.0
            typical[name] = _SHARE[0] * size, _SHARE[1] * size
    return typical


def _exponents_of_products(tree: Node) -> set[str]:
    """Returns the coefficients in exponents of terms with several columns."""
    names: set[str] = set()
    for _, term in summands(tree):
        columns = {n.name for n in walk(term) if isinstance(n, Column)}
        if len(columns) > 1 and product_of(term) is not None:
            names |= _exponents(term)
    return names
