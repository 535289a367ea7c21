"""`scalax --help`: lists every command, with an untruncated summary at 80 columns."""

from __future__ import annotations

import subprocess
import sys

from click.testing import CliRunner

from scalax.cli.app import cli


def test_every_summary_is_whole_at_80_columns() -> None:
    text = CliRunner().invoke(cli, ["--help"], terminal_width=80).output
    assert "..." not in text.partition("Commands:")[2].partition("Examples:")[0]
    for name, summary in cli.summaries.items():
        assert f"{name:10}{summary}\n" in text
        assert len(summary) <= 60
    assert list(cli.summaries) == list(cli.targets)


def test_the_list_of_commands_imports_none_of_them() -> None:
    code = (
        "import sys; from scalax.cli.app import cli; cli.main(['--help'], standalone_mode=False)\n"
        "print([m for m in sys.modules if m in ('pydantic', 'numpy', 'jax', 'scipy')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
