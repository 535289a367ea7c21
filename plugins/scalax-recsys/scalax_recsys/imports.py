"""The `imports` dataset: which source file imports which module; on every machine, offline.

Users are the Python files of the standard library and of all installed packages, items are the
modules they import. It reads source text alone and imports none of it.
"""

from __future__ import annotations

import ast
import hashlib
import platform
import sysconfig
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

import scalax as sx
from scalax_recsys.sequences import OpenSequences, SequenceOptions, User, open_sequences

_ELSEWHERE = {"site-packages", "dist-packages", "__pycache__"}


class _Options(SequenceOptions):
    folders: list[str] | None = Field(None, min_length=1)
    files: int | None = Field(None, ge=1)


class Imports(sx.Dataset):
    """Files and the modules they import, in the order in which they first do.

    Of each import the example holds the file's package and folder and the imports before it. A
    file is held out by the hash of its text, so that equal files never stand on both sides.
    Options: ``folders`` (to read instead of the standard library and the installed packages),
    ``files`` (so many of them at most, chosen by the hash of their paths), ``history``,
    ``negatives``, ``min_users``.
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "imports"
    title: ClassVar[str] = "which source file imports which module, of all installed; always there"
    trial: ClassVar[Mapping[str, Any]] = {"files": 500}

    def open(self, name: str, options: Mapping[str, Any]) -> OpenSequences:
        """Parses the files on first use; see `Dataset.open`."""
        parsed = sx.parse_settings(_Options, options, where="data")
        files = _files(parsed.folders)
        if not files:
            raise sx.ScalaxError(
                f"no Python file in {', '.join(parsed.folders or _installed())}",
                where=f"data {name!r}",
                fix="give other folders",
            )
        modules = {".".join(parts) for _, parts in files}
        if parsed.files is not None:
            files = sorted(sorted(files, key=_shuffled)[: parsed.files])
        key: dict[str, object] = {
            "dataset": "imports",
            "python": platform.python_version(),
            "files": [(parts, file.name, file.stat().st_size) for file, parts in files],
            "modules": hashlib.sha256("\n".join(sorted(modules)).encode()).hexdigest(),
        }

        def users() -> Iterator[User]:
            for file, parts in files:
                text = file.read_bytes()
                package = parts if file.name == "__init__.py" else parts[:-1]
                found = imported(text, package, modules)
                own = ".".join(parts)
                yield User(
                    key=text,
                    fields=(parts[0], "/".join(package)),
                    items=[module for module in found if module != own],
                )

        return open_sequences(name, parsed, key, users)


def imported(text: bytes, package: tuple[str, ...], modules: set[str]) -> list[str]:
    """The modules that a file imports, each once, in the order of its text.

    Args:
        text: The file's source; one that is no Python of this version imports nothing.
        package: The package it lies in, for relative imports.
        modules: All modules known: of ``from a import b`` it is a.b that counts where that is one.

    Example:
        >>> imported(b"import os.path; from . import a, b; import sys", ("p", "q"), {"p.q.a"})
        ['os.path', 'p.q.a', 'p.q', 'sys']
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the text, such as an invalid escape
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found: list[tuple[int, int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, node.col_offset, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, package)
            names = [f"{base}.{alias.name}" for alias in node.names]
            chosen = [name if name in modules else base for name in names]
            found += [(node.lineno, node.col_offset, name) for name in chosen if name]
    found.sort(key=lambda one: one[:2])
    return list(dict.fromkeys(name for _, _, name in found))


def _base(node: ast.ImportFrom, package: tuple[str, ...]) -> str:
    """The module that an import is from, relative ones resolved."""
    if not node.level:
        return node.module or ""
    above = package[: len(package) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def _installed() -> list[str]:
    paths = sysconfig.get_paths()
    return list(dict.fromkeys(paths[name] for name in ("stdlib", "purelib", "platlib")))


def _files(folders: list[str] | None) -> list[tuple[Path, tuple[str, ...]]]:
    """All Python files, each with the parts of its module's name, in a fixed order."""
    found: dict[Path, tuple[str, ...]] = {}
    for folder in folders or _installed():
        root = Path(folder).expanduser()
        for file in root.rglob("*.py"):
            parts = file.relative_to(root).with_suffix("").parts
            if _ELSEWHERE.isdisjoint(parts) and file.is_file():
                found[file] = parts[:-1] if parts[-1] == "__init__" and parts[1:] else parts
    return sorted(found.items())


def _shuffled(file: tuple[Path, tuple[str, ...]]) -> str:
    return hashlib.sha256("/".join(file[1]).encode()).hexdigest()
