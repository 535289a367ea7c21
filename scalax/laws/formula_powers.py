"""Recognises formulas that are sums of power terms, and products of powers within a formula."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from scalax.laws.formula_syntax import Binary, Column, Node, Number, Unknown, summands
from scalax.laws.power_law import Exponent, PowerSum, Term

Factors = dict[tuple[str, str], Exponent]
"""Exponents by kind (``"column"``, ``"coefficient"`` or ``"number"``) and name."""


def power_sum(tree: Node, counts: Mapping[str, int]) -> PowerSum | None:
    """Returns the formula as a sum of power terms, or None if it is not one.

    Args:
        tree: The formula.
        counts: Number of occurrences of each coefficient.
    """
    parts = summands(tree)
    if any(sign < 0 for sign, _ in parts):
        return None
    terms = [_term(part, counts) for _, part in parts]
    built = [term for term in terms if term is not None]
    if len(built) == len(parts):
        return _checked(built, None, 1.0)
    raised = [k for k, term in enumerate(terms) if term is None]
    floors = [part for k, (_, part) in enumerate(parts) if k not in raised]
    if len(raised) != 1 or len(floors) > 1:
        return None
    power = parts[raised[0]][1]
    if not (isinstance(power, Binary) and power.operator == "**"):
        return None
    outer = _exponent(power.right)
    inner = [(sign, _term(part, counts)) for sign, part in summands(power.left)]
    within = [term for sign, term in inner if sign > 0 and term is not None]
    if outer is None or len(within) < len(inner):
        return None
    if not floors:
        return _checked(within, None, outer)
    floor = floors[0]
    if not isinstance(floor, Unknown) or counts[floor.name] > 1:
        return None
    return _checked(within, floor.name, outer)


def _checked(terms: list[Term], floor: str | None, outer: float | Exponent) -> PowerSum | None:
    amounts = [term.amount for term in terms] + ([floor] if floor else [])
    return PowerSum(terms, floor, outer) if len(set(amounts)) == len(amounts) else None


def _term(node: Node, counts: Mapping[str, int]) -> Term | None:
    """Returns a summand as a power term, or None if it is not one."""
    product = product_of(node)
    if product is None:
        return None
    number, factors = product
    amounts = [name for (kind, name), e in factors.items() if kind == "coefficient"]
    if number != 1 or len(amounts) != 1 or counts[amounts[0]] > 1:
        return None
    power = factors["coefficient", amounts[0]]
    if not (power.powers or power.factor > 0):
        return None
    powers: dict[str | float, str | float | Exponent] = {
        (name if kind == "column" else float(name)): Exponent(-e.factor, e.powers)
        for (kind, name), e in factors.items()
        if kind != "coefficient"
    }
    return Term(amounts[0], powers, power)


def product_of(node: Node) -> tuple[float, Factors] | None:
    """Returns a number and the factors of a product of powers, or None if it is not one."""
    one = Exponent()
    match node:
        case Number(value=value):
            return value, {}
        case Column(name=name):
            return 1.0, {("column", name): one}
        case Unknown(name=name):
            return 1.0, {("coefficient", name): one}
        case Binary(operator="*" | "/" as symbol, left=left, right=right):
            first, second = product_of(left), product_of(right)
            if first is None or second is None or (symbol == "/" and second[0] == 0):
                return None
            sign = 1.0 if symbol == "*" else -1.0
            number, factors = first[0] * second[0] ** sign, dict(first[1])
            for key, e in second[1].items():
                joined = _added(factors.get(key), Exponent(sign * e.factor, e.powers))
                if joined is None:
                    return None
                factors[key] = joined
            return number, factors
        case Binary(operator="**", left=left, right=right):
            base, power = product_of(left), _exponent(right)
            if base is None or power is None or base[0] <= 0:
                return None
            number, factors = base[0], {k: _times(e, power) for k, e in base[1].items()}
            if not power.powers:
                return number**power.factor, factors
            if number != 1:
                factors["number", repr(number)] = power
            return 1.0, factors
    return None


def _exponent(node: Node) -> Exponent | None:
    """Returns a number times powers of coefficients as an exponent, or None if it is not one."""
    product = product_of(node)
    if product is None:
        return None
    number, factors = product
    if any(kind != "coefficient" or e.powers for (kind, _), e in factors.items()):
        return None
    return Exponent(number, {name: e.factor for (_, name), e in factors.items()})


def _times(left: Exponent, right: Exponent) -> Exponent:
    powers = Counter(dict(left.powers))
    for name, power in right.powers.items():
        powers[name] += power  # type: ignore[assignment]
    return Exponent(left.factor * right.factor, dict(powers))


def _added(left: Exponent | None, right: Exponent) -> Exponent | None:
    if left is None:
        return right
    if dict(left.powers) != dict(right.powers):
        return None
    return Exponent(left.factor + right.factor, left.powers)
