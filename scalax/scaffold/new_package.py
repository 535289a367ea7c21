"""Writes the package of a new plugin from a template by replacing the template's name.

A template is a complete package named ``template-plugin``. Its module is ``template_plugin``; its
plugin is the class ``TemplatePlugin`` or the function ``template_plugin``.
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
_IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc")


def write_package(name: str, kind: Kind, out: str | Path | None = None) -> Path:
    """Writes a package that registers one plugin.

    Args:
        name: Name of the package and of the plugin: lower-case words joined by dashes.
        kind: law, model or dataset.
        out: The folder to create; ``./NAME`` by default.

    Returns:
        The folder.

    Raises:
        ScalaxError: The name is not valid or is taken, or the folder exists.
    """
    module = name.replace("-", "_")
    if not _NAME.fullmatch(name) or keyword.iskeyword(module):
        raise ScalaxError(
            f"expected lower-case words and digits joined by dashes, got {name!r}",
            where="plugins new",
            fix="write a name such as my-plugin",
        )
    if module == "scalax" or any(entry.name == name for entry in registry.entries(kind)):
        raise ScalaxError(
            f"the {kind} {name!r} already exists", where="plugins new", fix="choose another name"
        )
    folder = Path(out) if out is not None else Path(name)
    if folder.exists():
        raise ScalaxError(
            "the folder already exists", where=str(folder), fix="give another folder with --out"
        )
    renames = {
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
            package = Path(work) / "package"
            shutil.copytree(template, package, ignore=_IGNORED)
            _rename(package, renames)
            package.rename(folder)
    except OSError as error:
        raise disk_error(error, folder) from error
    return folder


def _rename(folder: Path, renames: dict[str, str]) -> None:
    """Replaces names in the text of all files, and in the names of files and folders."""
    for path in sorted(folder.rglob("*"), reverse=True):  # deeper paths first
        if path.is_file():
            path.write_text(
                _replace_names(path.read_text(encoding="utf-8"), renames), encoding="utf-8"
            )
        name = _replace_names(path.name, renames)
        if path.name != name:
            path.rename(path.with_name(name))


def _replace_names(text: str, renames: dict[str, str]) -> str:
    for old, new in renames.items():
        text = text.replace(old, new)
    return text
