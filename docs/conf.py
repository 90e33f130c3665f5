"""The documentation site, built by ``make docs``.

Sphinx, which has been kept since 2008, with MyST, so that the pages are plain Markdown that reads well in a repository.

(mkdocs-material, the usual choice of projects like this, gets no new features and ends in 2027; zensical, its
successor, was still in alpha when this was decided. Neither builds a reference from docstrings by itself.)
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "src"))

from ecofed import __version__  # noqa: E402

#: The order of the pages, beside which they stand. In the repository docs/index.md does that, without marks of Sphinx.
CONTENTS = {
    "Start": ("tutorial",),
    "Understand": (
        "concepts",
        "explanation/pipelines",
        "explanation/bytes",
        "clock",
        "explanation/privacy",
        "architecture",
        "paper",
    ),
    "Do": (
        "how-to/photos",
        "how-to/own-data",
        "how-to/own-model",
        "how-to/backbones",
        "how-to/own-method",
        "how-to/own-codec",
        "how-to/python",
        "how-to/fronts",
        "how-to/fewer-bytes",
        "how-to/plan",
        "how-to/faster",
        "how-to/tune-baselines",
        "how-to/resume",
        "how-to/learn-again",
        "how-to/validate",
        "how-to/reports",
        "how-to/audit",
        "how-to/faults",
        "how-to/trackers",
        "how-to/deploy",
        "how-to/coming-from-flower",
        "how-to/coming-from-the-papers-code",
    ),
    "Notebooks": (
        "notebooks/compare",
        "notebooks/photographs",
        "notebooks/own-method",
    ),
    "See": (
        "results",
        "results-photos",
        "results-fronts",
        "results-again",
        "results-privacy",
        "results-time",
        "results-scale",
        "results-speed",
        "results-capacity",
    ),
    "Look up": (
        "reference/command-line",
        "reference/configuration",
        "reference/result-files",
        "reference/python",
    ),
}

project = "EcoFed"
author = "The EcoFed maintainers"
project_copyright = "the EcoFed maintainers, Apache-2.0"
version = release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
nb_execution_mode = "off"  # `make notebooks` runs them
root_doc = "index"
exclude_patterns: list[str] = []
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
# Comments in the pages say which examples are not run, and hold what the tests set up.
myst_commonmark_only = False
suppress_warnings = ["myst.header"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"EcoFed {__version__}"
html_static_path: list[str] = []
html_extra_path = ["results"]
html_show_sphinx = False
copybutton_exclude = ".linenos, .gp, .go"
pygments_style = "friendly"

linkcheck_anchors = False
linkcheck_timeout = 10
linkcheck_retries = 1


def _as_a_page(app: Any, docname: str, source: list[str]) -> None:  # noqa: ARG001
    """Links to files that are no pages (code, data) become text: the site is the pages alone."""
    if docname == root_doc:
        for caption, names in CONTENTS.items():
            source[0] += "\n```{toctree}\n:hidden:\n:caption: " + caption + "\n\n" + "\n".join(names) + "\n```\n"
    here = (HERE / docname).parent

    def link(match: re.Match[str]) -> str:
        text, target = match[1], match[2].partition("#")[0]
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        place = (here / target).resolve()
        if place.is_relative_to(HERE) and place.suffix in (".md", ".png", ".svg", ".html", ".ipynb") and place.exists():
            return match[0]
        return text if place.exists() else match[0]

    source[0] = re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", link, source[0])


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", _as_a_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
