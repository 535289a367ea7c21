"""Guards the plain language of code and docs: archaic words that make a sentence hard to read."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import ROOT

WORDS = re.compile(
    r"\b(told|mend|mended|whence|of each is|of what|stands in|lies in)\b", re.IGNORECASE
)
SUFFIXES = {".py", ".md", ".toml"}


def _files() -> list[Path]:
    folders = [ROOT / name for name in ("scalax", "plugins", "docs")]
    files = [path for folder in folders for path in sorted(folder.rglob("*"))]
    return [*(path for path in files if path.suffix in SUFFIXES), ROOT / "README.md"]


def test_code_and_docs_avoid_archaic_words() -> None:
    hits = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in _files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if WORDS.search(line)
    ]
    assert not hits, "\n".join(hits)
