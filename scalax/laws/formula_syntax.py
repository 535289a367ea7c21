"""Parses the text of a formula into a tree, without evaluating it as code.

The grammar is arithmetic: ``+ - * / **`` (or ``^``), parentheses, numbers, names and a few
functions. A name is a column (``N``, ``D``, ``C`` and other names of the runs table, or any name in
brackets) or else a coefficient. This module infers nothing about coefficients.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scalax.errors import ScalaxError
from scalax.laws.base import Array

SYMBOLS = {"N": "params", "D": "tokens", "C": "flops"}
"""Short names of columns."""
COLUMNS = (*SYMBOLS.values(), "params_active", "params_embedding", "unique_tokens")
"""Names that are columns without brackets."""
FUNCTIONS = ("exp", "expm1", "log", "log1p", "sqrt", "tanh")

_OPERATORS: Mapping[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Pow: "**",
}
_APPLY: Mapping[str, Callable[[Array, Array], Array]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


@dataclass(frozen=True)
class Number:
    """A literal."""

    value: float


@dataclass(frozen=True)
class Column:
    """A column of the runs table."""

    name: str


@dataclass(frozen=True)
class Unknown:
    """A coefficient, with its position in the text."""

    name: str
    position: int


@dataclass(frozen=True)
class Binary:
    """An operation on two parts: ``+ - * / **``."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Call:
    """A function of one part."""

    function: str
    argument: Node


Node = Number | Column | Unknown | Binary | Call


def parse(text: str, columns: Sequence[str] = ()) -> Node:
    """Parses a formula.

    Args:
        text: The formula, such as ``"E + A/N**alpha"``.
        columns: Further names that are columns.

    Raises:
        ScalaxError: The text is not a formula; gives the position of the fault, from 1.

    Example:
        >>> [node.name for node in walk(parse("E + A/N**alpha")) if isinstance(node, Unknown)]
        ['E', 'A', 'alpha']
    """
    code, positions = "", []
    for position, character in enumerate(text.strip(), 1 + len(text) - len(text.lstrip())):
        written = "**" if character == "^" else character
        code += written
        positions += [position] * len(written)
    try:
        tree = ast.parse(code, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        offset = getattr(error, "offset", None) or 1
        position = positions[min(offset, len(positions)) - 1] if positions else 1
        fix = "write it as E + A/N**alpha"
        raise formula_error(text, position, "not a formula", fix) from None
    return _Reader(text, code, positions, frozenset((*COLUMNS, *columns))).read(tree)


def formula_error(text: str, position: int, problem: str, fix: str | None = None) -> ScalaxError:
    """Returns the error of a formula at a position, counted from 1."""
    return ScalaxError(f"{problem} at column {position}", where=f"formula {text!r}", fix=fix)


@dataclass(frozen=True)
class _Reader:
    """Converts Python's syntax tree of one formula."""

    text: str
    code: str
    positions: Sequence[int]
    columns: frozenset[str]

    def read(self, node: ast.expr) -> Node:
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                if not math.isfinite(value):
                    raise self.error(node, f"the number {value} is too large")
                return Number(float(value))
            case ast.Name(id=name):
                column = SYMBOLS.get(name, name)
                return (
                    Column(column) if column in self.columns else Unknown(name, self.position(node))
                )
            case ast.List(elts=[ast.Name(id=name)]):
                return Column(SYMBOLS.get(name, name))
            case ast.UnaryOp(op=ast.UAdd(), operand=part):
                return self.read(part)
            case ast.UnaryOp(op=ast.USub(), operand=part):
                return Binary("*", Number(-1.0), self.read(part))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return Binary(_OPERATORS[type(op)], self.read(left), self.read(right))
            case ast.Call(func=ast.Name(id=name), args=[part], keywords=[]) if name in FUNCTIONS:
                return Call(name, self.read(part))
            case ast.Call(func=ast.Name(id=name)) if name in FUNCTIONS:
                raise self.error(node, f"{name} takes one argument")
            case ast.Call(func=ast.Name(id=name)):
                raise self.error(node, f"unknown function {name!r}", f"use {', '.join(FUNCTIONS)}")
            case _:
                source = ast.get_source_segment(self.code, node)
                raise self.error(
                    node,
                    f"unknown syntax {source!r}",
                    "use + - * / **, parentheses, numbers, names and functions",
                )

    def error(self, node: ast.expr, problem: str, fix: str | None = None) -> ScalaxError:
        return formula_error(self.text, self.position(node), problem, fix)

    def position(self, node: ast.expr) -> int:
        """Position of a node in the text, from 1; `ast` counts bytes of a line."""
        lines = self.code.splitlines(keepends=True)
        before = sum(map(len, lines[: node.lineno - 1]))
        line = lines[node.lineno - 1].encode()
        return self.positions[before + len(line[: node.col_offset].decode())]


def walk(node: Node) -> Iterator[Node]:
    """Yields a node and all its parts, from left to right."""
    yield node
    parts: tuple[Node, ...] = ()
    if isinstance(node, Binary):
        parts = (node.left, node.right)
    elif isinstance(node, Call):
        parts = (node.argument,)
    for part in parts:
        yield from walk(part)


def summands(node: Node, sign: float = 1.0) -> list[tuple[float, Node]]:
    """Returns the terms of a sum with their signs."""
    if isinstance(node, Binary):
        if node.operator in "+-":
            right = sign if node.operator == "+" else -sign
            return [*summands(node.left, sign), *summands(node.right, right)]
        if node.operator == "*" and isinstance(node.left, Number) and node.left.value == -1:
            return summands(node.right, -sign)
    return [(sign, node)]


def evaluate(node: Node, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> Array:
    """Computes the value of a formula.

    Args:
        node: The formula.
        xp: numpy, jax.numpy, or a namespace with the same functions.
        c: Coefficients by name.
        x: Columns by name.
    """
    exp: Callable[[Array], Array] = xp.exp
    match node:
        case Number(value=value):
            return value
        case Column(name=name):
            return x[name]
        case Unknown(name=name):
            return c[name]
        case Call(function=name, argument=argument):
            function: Callable[[Array], Array] = getattr(xp, name)
            return function(evaluate(argument, xp, c, x))
        case Binary(operator="**", left=base, right=Number(value=power)):
            return evaluate(base, xp, c, x) ** power
        case Binary(operator="**", left=Number(value=base), right=power) if base > 0:
            return exp(evaluate(power, xp, c, x) * math.log(base))
        case Binary(operator="**", left=base, right=power):
            return exp(evaluate(power, xp, c, x) * xp.log(evaluate(base, xp, c, x)))
        case Binary(operator=symbol, left=left, right=right):
            return _APPLY[symbol](evaluate(left, xp, c, x), evaluate(right, xp, c, x))
