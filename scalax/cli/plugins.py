"""`scalax plugins`: lists, checks and creates plugins."""

from __future__ import annotations

import sys
import tomllib
from typing import Any

import click

from scalax import registry
from scalax.cli.app import json_option, plugin_option, print_json, say, table
from scalax.errors import ScalaxError


@click.group()
def plugins() -> None:
    """List, check or create laws, model families and datasets."""


@plugins.command("list")
@json_option
@plugin_option
def list_plugins(as_json: bool) -> None:
    """List all plugins with their origin, and errors in loading them."""
    listed = []
    for kind in registry.KINDS:
        for entry in registry.entries(kind):
            title, problem = None, None
            try:
                title = getattr(entry.load(), "title", None)
            except ScalaxError as error:
                problem = str(error)
            target = entry.target if isinstance(entry.target, str) else None
            listed.append(
                {
                    "kind": kind,
                    "name": entry.name,
                    "origin": entry.origin,
                    "target": target,
                    "title": title,
                    "error": problem,
                }
            )
    if as_json:
        print_json(listed)
        return
    table(
        ["kind", "name", "origin", "title"],
        [
            [str(plugin[k] or "") for k in ("kind", "name", "origin")]
            + ["FAILED" if plugin["error"] else str(plugin["title"])]
            for plugin in listed
        ],
    )
    for plugin in listed:
        if plugin["error"]:
            say(f"failed: {plugin['error']}")


@plugins.command(
    epilog="Examples: scalax plugins check law:chinchilla; scalax plugins check my-package/; "
    "scalax plugins check tfds:mnist --set data_dir='\"/data\"'"
)
@click.argument("target")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="A key of [data] to open a dataset with, in TOML; repeatable.",
)
@json_option
@plugin_option
def check(target: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Check a plugin against its interface; exit 3 if it fails.

    TARGET is a name from `plugins list` (law:NAME if a dataset or model has the same name), the
    folder of a package, installed or not, or a Python file.
    """
    from scalax.conform.check import check_plugin

    reports = check_plugin(target, _options(overrides))
    if as_json:
        print_json([report.to_json() for report in reports])
    else:
        for report in reports:
            click.echo(f"{report.kind} {report.name} ({report.origin})")
            for line in report.lines:
                click.echo(f"  {'passed' if line.passed else 'FAILED'}  {line.demand}")
                click.echo(f"          {line.detail}")
            passed = sum(line.passed for line in report.lines)
            click.echo(f"{passed} of {len(report.lines)} lines passed")
    if not all(report.passed for report in reports):
        sys.exit(3)


@plugins.command(epilog="Example: scalax plugins new scalax-audio --kind dataset")
@click.argument("name")
@click.option(
    "--kind", type=click.Choice(registry.KINDS), required=True, help="The kind of plugin."
)
@click.option("--out", metavar="FOLDER", help="The folder to create; ./NAME by default.")
def new(name: str, kind: registry.Kind, out: str | None) -> None:
    """Create an installable package with a working plugin to change.

    NAME is the name of the package and of its plugin, in lower case with dashes.
    """
    from scalax.scaffold.new_package import write_package

    folder = write_package(name, kind, out)
    click.echo(f"wrote {folder}; next:")
    click.echo(f"  pip install --editable {folder}")
    click.echo(f"  scalax plugins check {kind}:{name}")
    click.echo(f"  see {folder}/README.md")


def _options(overrides: tuple[str, ...]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for override in overrides:
        try:
            options |= tomllib.loads(override)
        except tomllib.TOMLDecodeError:
            raise ScalaxError(
                f"expected KEY=VALUE with a TOML value, got {override!r}",
                where="--set",
                fix="write --set seq_len=64, or for a string --set 'data_dir=\"/data\"'",
            ) from None
    return options
