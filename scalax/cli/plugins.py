"""`scalax plugins`: what is registered, from where, and what failed to load."""

from __future__ import annotations

import click

from scalax import registry
from scalax.cli.app import json_option, plugin_option, print_json, table
from scalax.errors import ScalaxError


@click.group()
def plugins() -> None:
    """List laws, model families and datasets: built in, installed, or from --plugin."""


@plugins.command("list")
@json_option
@plugin_option
def list_plugins(as_json: bool) -> None:
    """List every name, what it is, where it comes from, and why it failed if it did."""
    found = []
    for kind in registry.KINDS:
        for entry in registry.entries(kind):
            problem = None
            try:
                entry.load()
            except ScalaxError as error:
                problem = str(error)
            found.append(
                {"kind": kind, "name": entry.name, "origin": entry.origin, "error": problem}
            )
    if as_json:
        print_json(found)
        return
    table(
        ["kind", "name", "origin", "state"],
        [[str(f["kind"]), str(f["name"]), str(f["origin"]), f["error"] or "works"] for f in found],
    )
