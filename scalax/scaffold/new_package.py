"""Writes a new plugin's package from a template: real files, in which only the name changes.

A template is a whole package called ``template-plugin``, whose module is ``template_plugin`` and
whose class is ``TemplatePlugin``.
"""

from __future__ import annotations

import keyword
import re
import shutil
import tempfile
from importlib.resources import as_file, files
from pathlib import Path

from scalax import registry
from scalax.errors import ScalaxError
from scalax.files import disk_error
from scalax.registry import Kind

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc")


def write_package(name: str, kind: Kind, out: str | Path | None = None) -> Path:
    """Writes a package that registers one plugin.

    Args:
        name: Of the package and of the plugin: lower case, with dashes.
        kind: law, model or dataset.
        out: The folder to make; ``./NAME`` by default.

    Returns:
        The folder.

    Raises:
        ScalaxError: The name cannot be a package's or is taken, or the folder is there.
    """
    module = name.replace("-", "_")
    if not _NAME.fullmatch(name) or keyword.iskeyword(module):
        raise ScalaxError(
            f"expected lower-case words and digits joined by dashes, got {name!r}",
            where="plugins new",
            fix="write my-plugin, say",
        )
    if module == "scalax" or any(entry.name == name for entry in registry.entries(kind)):
        raise ScalaxError(
            f"there is a {kind} {name!r} already", where="plugins new", fix="choose another name"
        )
    folder = Path(out) if out is not None else Path(name)
    if folder.exists():
        raise ScalaxError("is there already", where=str(folder), fix="give another --out")
    words = {
        "template-plugin": name,
        "template_plugin": module,
        "TemplatePlugin": "".join(word.capitalize() for word in name.split("-")),
    }
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (
            as_file(files("scalax.scaffold") / "templates" / kind) as template,
            tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as work,
        ):
            made = Path(work) / "package"
            shutil.copytree(template, made, ignore=_LEFT_OUT)
            _rename(made, words)
            made.rename(folder)
    except OSError as error:
        raise disk_error(error, folder) from error
    return folder


def _rename(folder: Path, words: dict[str, str]) -> None:
    """Puts the new words for the old ones, in the text of files and in their names."""
    for path in sorted(folder.rglob("*"), reverse=True):  # deeper paths first
        if path.is_file():
            path.write_text(_replaced(path.read_text(encoding="utf-8"), words), encoding="utf-8")
        if path.name != _replaced(path.name, words):
            path.rename(path.with_name(_replaced(path.name, words)))


def _replaced(text: str, words: dict[str, str]) -> str:
    for old, new in words.items():
        text = text.replace(old, new)
    return text
