"""How Sphinx builds the documentation: `sphinx-build -b html docs build/docs`, without any network."""

from __future__ import annotations

import inspect
from typing import Any

from sphinx.application import Sphinx
from sphinx.ext.napoleon import GoogleDocstring

import pycloudlib

project = "pycloudlib-ec2"
author = "the pycloudlib-ec2 project"
copyright = "the pycloudlib-ec2 project, Apache License 2.0"
release = pycloudlib.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["custom.css"]

# The curly quotes and dashes of smartquotes turn --help into a dash and "help".
smartquotes = False
html_title = f"pycloudlib-ec2 {release}"
html_copy_source = False
html_show_sphinx = False

myst_heading_anchors = 3

default_role = "literal"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 90


AFTER_NAPOLEON = 600


def drop_module_text(_app: Sphinx, what: str, _name: str, *rest: Any) -> None:
    """Leave out what a module says of itself: the pages say it, and drawings do not survive."""
    if what == "module":
        rest[-1].clear()


def keep_colons(app: Sphinx, what: str, _name: str, obj: Any, *rest: Any) -> None:
    """Read a property as a method: napoleon would take what stands before its first colon for its type."""
    if what == "property":
        rest[-1][:] = GoogleDocstring(inspect.getdoc(obj) or "", app.config, app, "method").lines()


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", drop_module_text)
    app.connect("autodoc-process-docstring", keep_colons, priority=AFTER_NAPOLEON)
