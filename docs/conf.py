"""How Sphinx builds the documentation: `sphinx-build -b html docs build/docs`, without any network."""

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
html_theme_options = {"navigation_with_keys": True}

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 90
