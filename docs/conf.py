"""How Sphinx builds the documentation: `sphinx-build -b html docs build/docs`, without any network."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

import pycloudlib

project = "pycloudlib-ec2"
author = "the pycloudlib-ec2 project"
copyright = "the pycloudlib-ec2 project, Apache License 2.0"
release = pycloudlib.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"pycloudlib-ec2 {release}"
html_copy_source = False

myst_heading_anchors = 3

default_role = "literal"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 90


def drop_module_text(_app: Sphinx, what: str, _name: str, *rest: Any) -> None:
    """Leave out what a module says of itself: the pages say it, and drawings do not survive."""
    if what == "module":
        rest[-1].clear()


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", drop_module_text)
