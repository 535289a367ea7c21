"""Sphinx settings of the manual. `make docs` builds it without network access."""

from __future__ import annotations

import scalax

project = "scalax"
author = "The scalax authors"
project_copyright = "2026, The scalax authors"
version = release = scalax.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
html_theme = "sphinx_book_theme"
html_title = "scalax"
html_show_sourcelink = False

myst_heading_anchors = 3
autosummary_generate = True
autosummary_imported_members = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Class attributes", "params_style")]
default_role = "any"
suppress_warnings = [
    "myst.xref_missing",  # links to files of the repository that are not pages of the manual
    "ref.any",  # names in single backticks that are not public
]
