"""Loads a local plugin file."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from scalax.errors import ScalaxError
from scalax.registry.entry import summary
from scalax.registry.lookup import registered_names, registering_from


def load_file(path: str | Path) -> None:
    """Runs a local plugin file, which registers its plugins by calling ``sx.register``.

    A file that was loaded before is not run again.

    Args:
        path: A Python file.

    Raises:
        ScalaxError: The file is missing, fails to run, or registers nothing.
    """
    where = f"plugin {path}"
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        raise ScalaxError("no such file", where=where, fix="give the path of a Python file")
    name = f"scalax_local_{file.stem}"
    if getattr(sys.modules.get(name), "__file__", None) == str(file):
        return
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ScalaxError("not a Python file", where=where, fix="give a .py file")
    before = registered_names()
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with registering_from(str(path)):
            spec.loader.exec_module(module)
    except ScalaxError:
        del sys.modules[name]
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ScalaxError(
            f"does not run ({summary(error)})", where=where, fix=f"correct {path}"
        ) from error
    if registered_names() == before:
        raise ScalaxError(
            "registers nothing",
            where=where,
            fix='call sx.register("law" | "model" | "dataset", name, object) in it',
        )
