"""Sphinx configuration of the documentation site; `docs/site/build.py` runs it."""

import os
import re

project = "ArchGym"
author = "The ArchGym developers"
copyright = "The ArchGym developers, Apache-2.0"  # Sphinx reads this name
release = version = os.environ["ARCHGYM_SITE_VERSION"]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_external_toc",
]
external_toc_path = "_toc.yml"
external_toc_exclude_missing = False

myst_heading_anchors = 4
myst_enable_extensions = ["linkify"]
myst_linkify_fuzzy_links = False
# The tutorials are executed by tests; their stored outputs are shown.
nb_execution_mode = "off"
nb_merge_streams = True
exclude_patterns = ["files/**"]
# A class that `archgym` re-exports has two targets, which lead to the same text.
suppress_warnings = ["myst.xref_missing", "mystnb.unknown_mime_type", "ref.python"]

# Overrides of Gymnasium would repeat its docstrings, which are not ours.
autodoc_inherit_docstrings = False
# Optional packages that modules of the reference import at their top.
autodoc_mock_imports = ["openenv", "pettingzoo", "stable_baselines3"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_custom_sections = [("Source", "notes_style"), ("Life cycle", "notes_style")]
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"ArchGym {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1d4f91", "color-brand-content": "#1d4f91"},
    "dark_css_variables": {"color-brand-primary": "#8fb8f0", "color-brand-content": "#8fb8f0"},
}
pygments_style = "friendly"
pygments_dark_style = "github-dark"


def literal_docstring(app, what, name, obj, options, lines):  # type: ignore[no-untyped-def]
    """Turn the Markdown of our docstrings into what Sphinx reads: `code` and indented blocks."""
    out: list[str] = []
    last = ""  # the last line that is not empty
    in_block = False
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if line.strip():
            begins = indent >= 4 and out and not out[-1].strip() and last and not last[0].isspace()
            if begins and not last.endswith("::") and not line.lstrip().startswith(">>>"):
                out += ["::", ""]
                in_block = True
            elif indent == 0:
                in_block = False
            last = line
        out.append(line if in_block else re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", line))
    lines[:] = out


def setup(app):  # type: ignore[no-untyped-def]
    """Register the hook on docstrings, ahead of the one that reads their sections."""
    app.connect("autodoc-process-docstring", literal_docstring, priority=100)
