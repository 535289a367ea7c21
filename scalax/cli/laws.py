"""`scalax laws`: the law forms that can be fitted, and the published coefficients."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from scalax import registry
from scalax.cli.app import json_option, plugin_option, print_json, table, warn
from scalax.errors import ScalaxError, suggest
from scalax.laws.base import Law
from scalax.laws.published import published
from scalax.laws.resolve import is_formula, resolve_law


@click.group(
    epilog="""\b
Examples:
  scalax laws list
  scalax laws show hoffmann2022
  scalax laws show "L = E + A / N^alpha"
"""
)
def laws() -> None:
    """List the laws, or show one."""


@laws.command("list")
@json_option
@plugin_option
def list_laws(as_json: bool) -> None:
    """List every law form and every published law."""
    forms, failures = [], []
    for entry in registry.entries("law"):
        try:
            forms.append(_form(entry.load(), entry.origin))
        except ScalaxError as error:
            failures.append(str(error))
    known = [_published(name) for name in published()]
    if as_json:
        print_json(forms + known)
        warn(failures)
        return
    table(
        ["name", "kind", "title"],
        [[law["name"], law["kind"], law["title"]] for law in forms + known],
    )
    warn(failures)


@laws.command(
    epilog="""\b
Examples:
  scalax laws show hoffmann2022
  scalax laws show "L = E + A / N^alpha"
"""
)
@click.argument("name")
@json_option
@plugin_option
def show(name: str, as_json: bool) -> None:
    """Show one law, or a formula: equation, coefficients, source.

    NAME is a name that scalax laws list prints, or a formula.
    """
    if name in published():
        record = _published(name)
    else:
        forms = {entry.name: entry for entry in registry.entries("law")}
        if is_formula(name):
            record = _form(resolve_law(name), "formula")
        elif name in forms:
            record = _form(forms[name].load(), forms[name].origin)
        else:
            raise ScalaxError(f"unknown law {name!r}", fix=suggest(name, [*forms, *published()]))
    if as_json:
        print_json(record)
        return
    coefficients = record.pop("coefficients")
    for key, value in record.items():
        click.echo(f"{key:<12}{_text(value)}")
    if isinstance(coefficients, dict):
        table(["coefficient", "value"], [[k, f"{v:.10g}"] for k, v in coefficients.items()])
    else:
        table(["coefficient", "meaning"], [[c["name"], c["meaning"]] for c in coefficients])


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {low:g} to {high:g}" for k, (low, high) in value.items())
    return ", ".join(value) if isinstance(value, list | tuple) else str(value)


def _reads_params(law: Law) -> bool:
    return any(name.startswith("params") for name in law.columns)


def _form(law: Law, origin: str) -> dict[str, Any]:
    return {
        "name": law.name,
        "kind": "form",
        "title": law.title,
        "equation": law.equation,
        "source": law.source,
        "counting": f"N: {law.params_expected}" if _reads_params(law) else None,
        "columns": list(law.columns),
        "origin": origin,
        "coefficients": [asdict(c) for c in law.coefficients],
    }


def _published(name: str) -> dict[str, Any]:
    law = published()[name]
    equations = [part.equation for part in (law.allocation, law.hyperparameters) if part]
    if law.law:
        form: Law = registry.get("law", law.law)
        equations.insert(0, form.equation)
    return {
        "name": name,
        "kind": "published",
        "title": law.title,
        "equation": "; ".join(equations),
        "source": f"{law.paper}; {law.where}",
        "counting": f"N: {law.params_counted}; compute: {law.compute}",
        "law": law.law,
        "gives": law.gives,
        "ranges": law.ranges,
        "checked": law.checked,
        "coefficients": law.coefficients,
    }
