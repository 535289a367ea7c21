"""The one place that runs commands, or prints them: the user's own `gcloud` and `kubectl`."""

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
    """Runs argument lists, never a string.

    Args:
        program: What every command begins with.
        dry_run: Whether to print commands, as bash reads them, in place of running them.

    Raises:
        ScalaxError: The program is not installed, and would be run.
    """

    def __init__(self, program: str, *, dry_run: bool) -> None:
        self.dry_run = dry_run
        if not dry_run and shutil.which(program) is None:
            raise ScalaxError(
                f"expected the program {program}, found none", where="PATH", fix=_INSTALL[program]
            )

    def note(self, text: str) -> None:
        """Says what is going on: on standard error, or as a comment among printed commands."""
        click.echo(f"# {text}" if self.dry_run else f"cloud_tpu: {text}", err=not self.dry_run)

    def run(self, *commands: Sequence[str], stdin: str | None = None) -> list[int]:
        """Runs commands at the same time, their output passed on; gives their exit codes."""
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

    def demand(self, command: Sequence[str], *, stdin: str | None = None) -> None:
        """Runs one command that must succeed.

        Raises:
            JobError: It did not.
        """
        (code,) = self.run(command, stdin=stdin)
        if code:
            raise JobError(
                f"ended with exit code {code}, as told above",
                where=shlex.join(command),
                fix="mend what it names and give the same command again",
            )

    def read(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Runs a command that only asks, and gives what it answered."""
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )


def _end(process: subprocess.Popen[str]) -> None:
    """Leaves nothing running behind when this program is interrupted."""
    if process.poll() is None:
        process.terminate()
        process.wait()
