"""The `imports` dataset: Python source files and the modules that they import.

Users are the Python files of the standard library and of all installed packages. Items are the
modules that they import. The dataset parses the source text and runs none of it.
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

_SKIPPED_FOLDERS = {"site-packages", "dist-packages", "__pycache__"}


class _Options(SequenceOptions):
    folders: list[str] | None = Field(None, min_length=1)
    files: int | None = Field(None, ge=1)


class Imports(sx.Dataset):
    """Files and the modules that they import, in the order of the first import.

    An example has one import, the file's package and folder, and the imports before it. The hash of
    a file's text decides its split, so equal files are always in the same split. Options of
    ``[data]``: ``folders`` (to read in place of the standard library and the installed packages),
    ``files`` (the most files to read, chosen by the hash of their paths), ``history``,
    ``negatives`` and ``min_users``.
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "imports"
    title: ClassVar[str] = "which Python file imports which module, of all installed; offline"
    trial: ClassVar[Mapping[str, Any]] = {"files": 500}

    def open(self, name: str, options: Mapping[str, Any]) -> OpenSequences:
        """Parses the files on first use; see `Dataset.open`."""
        parsed = sx.parse_settings(_Options, options, where="data")
        files = _files(parsed.folders)
        if not files:
            raise sx.ScalaxError(
                f"no Python file in {', '.join(parsed.folders or _installed())}",
                where=f"data {name!r}",
                fix="give folders that contain .py files",
            )
        modules = {".".join(parts) for _, parts in files}
        if parsed.files is not None:
            files = sorted(sorted(files, key=_path_hash)[: parsed.files])
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
                own = ".".join(parts)
                items = [name for name in imported(text, package, modules) if name != own]
                yield User(key=text, fields=(parts[0], "/".join(package)), items=items)

        return open_sequences(name, parsed, key, users)


def imported(text: bytes, package: tuple[str, ...], modules: set[str]) -> list[str]:
    """Returns the modules that a file imports, each once, in the order of the text.

    Args:
        text: The file's source. Text that this Python version cannot parse imports nothing.
        package: The package of the file, to resolve relative imports.
        modules: All known modules; ``from a import b`` gives a.b if that is a module, else a.

    Example:
        >>> imported(b"import os.path; from . import a, b; import sys", ("p", "q"), {"p.q.a"})
        ['os.path', 'p.q.a', 'p.q', 'sys']
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as those about invalid escapes in the text
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    imports: list[tuple[int, int, str]] = []  # line, column, module
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [(node.lineno, node.col_offset, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, package)
            names = [f"{base}.{alias.name}" for alias in node.names]
            resolved = [name if name in modules else base for name in names]
            imports += [(node.lineno, node.col_offset, name) for name in resolved if name]
    imports.sort(key=lambda position: position[:2])
    return list(dict.fromkeys(name for _, _, name in imports))


def _base(node: ast.ImportFrom, package: tuple[str, ...]) -> str:
    """Returns the module of a ``from`` import, with relative imports resolved."""
    if not node.level:
        return node.module or ""
    above = package[: len(package) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def _installed() -> list[str]:
    paths = sysconfig.get_paths()
    return list(dict.fromkeys(paths[name] for name in ("stdlib", "purelib", "platlib")))


def _files(folders: list[str] | None) -> list[tuple[Path, tuple[str, ...]]]:
    """Returns all Python files in a fixed order, each with the parts of its module's name."""
    files: dict[Path, tuple[str, ...]] = {}
    for folder in folders or _installed():
        root = Path(folder).expanduser()
        for file in root.rglob("*.py"):
            parts = file.relative_to(root).with_suffix("").parts
            if _SKIPPED_FOLDERS.isdisjoint(parts) and file.is_file():
                files[file] = parts[:-1] if parts[-1] == "__init__" and parts[1:] else parts
    return sorted(files.items())


def _path_hash(file: tuple[Path, tuple[str, ...]]) -> str:
    return hashlib.sha256("/".join(file[1]).encode()).hexdigest()
