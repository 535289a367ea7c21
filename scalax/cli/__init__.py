"""The command line: one file per command, imported on use. It contains no logic."""

from __future__ import annotations

import sys

from scalax.cli.app import cli
from scalax.errors import ScalaxError


def main() -> None:
    """Runs the command line and exits: 0 done, 2 wrong use, 3 failed, 130 interrupted.

    An error in a plugin's code names the plugin. A bug in scalax ends with a traceback.
    """
    import click

    try:
        sys.exit(cli.main(prog_name="scalax", standalone_mode=False) or 0)
    except ScalaxError as error:
        click.echo(f"scalax: {error}", err=True)
        sys.exit(error.exit_code)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("scalax: interrupted", err=True)
        sys.exit(130)
    except Exception as error:
        from scalax.registry import blame

        blamed = blame(error)
        if blamed is None:
            raise
        click.echo(f"scalax: {blamed}", err=True)
        sys.exit(blamed.exit_code)
