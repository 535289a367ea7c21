"""Runs or prints commands of the user's own `gcloud` and `kubectl`."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import subprocess
from collections.abc import Sequence

import click

from scalax.errors import JobError, ScalaxError

_INSTALL = {
    "gcloud": "install the Google Cloud CLI: https://cloud.google.com/sdk/docs/install",
    "kubectl": "type: gcloud components install kubectl gke-gcloud-auth-plugin",
}


class Shell:
    """Runs commands given as argument lists, never as strings.

    Args:
        program: Program that every command calls.
        dry_run: Whether to print the commands, quoted for bash, instead of running them.

    Raises:
        ScalaxError: The program is not installed.
    """

    def __init__(self, program: str, *, dry_run: bool) -> None:
        self.dry_run = dry_run
        if not dry_run and shutil.which(program) is None:
            raise ScalaxError(
                f"the program {program} is not installed", where="PATH", fix=_INSTALL[program]
            )

    def note(self, text: str) -> None:
        """Prints a message on standard error, or as a comment between printed commands."""
        click.echo(f"# {text}" if self.dry_run else f"cloud_tpu: {text}", err=not self.dry_run)

    def run(self, *commands: Sequence[str], stdin: str | None = None) -> list[int]:
        """Runs commands in parallel, passes on their output and returns their exit codes."""
        if self.dry_run:
            for command in commands:
                here = "" if stdin is None else f" <<'END'\n{stdin}\nEND"
                click.echo(shlex.join(command) + here)
            return [0] * len(commands)
        with contextlib.ExitStack() as running:
            started = []
            for command in commands:
                process = subprocess.Popen(
                    command, text=True, stdin=subprocess.DEVNULL if stdin is None else -1
                )
                running.callback(_end, process)
                started.append(process)
            if stdin is not None:
                started[0].communicate(stdin)
            codes = [process.wait() for process in started]
        return [code if code >= 0 else 128 - code for code in codes]

    def run_checked(self, command: Sequence[str], *, stdin: str | None = None) -> None:
        """Runs one command that must succeed.

        Raises:
            JobError: The command failed.
        """
        (code,) = self.run(command, stdin=stdin)
        if code:
            raise JobError(
                f"failed with exit code {code}; see its output above",
                where=shlex.join(command),
                fix="fix the reported problem and repeat the command",
            )

    def read(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Runs a query and returns its captured output."""
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )


def _end(process: subprocess.Popen[str]) -> None:
    """Terminates a command that is still running when this program is interrupted."""
    if process.poll() is None:
        process.terminate()
        process.wait()
