"""Finds laws, model families and datasets by name: built in, installed, or in a local file.

A plugin is imported when its name is used, or when all plugins are listed. A plugin that fails to
load is reported and does not affect the others. The registry knows only the base class of each
kind and the interface versions that are supported.
"""

from scalax.registry.built_in import BUILT_IN, KINDS, Kind
from scalax.registry.entry import INTERFACE, OLDEST_INTERFACE, Entry
from scalax.registry.failures import blame
from scalax.registry.local_file import load_file
from scalax.registry.lookup import describe, entries, find, get, register, register_own

__all__ = [
    "BUILT_IN",
    "INTERFACE",
    "KINDS",
    "OLDEST_INTERFACE",
    "Entry",
    "Kind",
    "blame",
    "describe",
    "entries",
    "find",
    "get",
    "load_file",
    "register",
    "register_own",
]
