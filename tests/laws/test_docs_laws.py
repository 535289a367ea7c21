"""docs/laws.md: its table lists every built-in law, and its examples run."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

from scalax import registry
from tests.conftest import ROOT, Command

PAGE = ROOT / "docs" / "laws.md"


def test_the_table_lists_every_built_in_law() -> None:
    rows = set(PAGE.read_text(encoding="utf-8").splitlines())
    for entry in registry.entries("law"):
        if entry.origin == registry.BUILT_IN:
            law = entry.load()
            assert f"| `{law.name}` | `{law.equation}` | {law.source} |" in rows


def test_the_python_examples_give_what_the_page_says() -> None:
    outcome = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert outcome.attempted > 5
    assert outcome.failed == 0


def test_the_commands_run_as_written(scalax: Command, tmp_path: Path) -> None:
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    commands = [line for block in blocks for line in block.strip().splitlines()]
    assert commands
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "scalax"
        done = scalax(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
