"""The site's pages and what they share: one a notebook, one a file of docs/, a common navigation, style and script."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import jinja2
from nbformat import NotebookNode
from plotly.offline import get_plotlyjs
from pygments.formatters import HtmlFormatter

from scripts.build_notebooks import NOTEBOOKS
from scripts.site.outputs import Page, script_json
from scripts.site.text import Exporter, plain, relink, to_html

PARTS = Path(__file__).resolve().parent
DOCS = PARTS.parent.parent / "docs"
DOCS_ORDER = ("training", "own", "data", "methods", "results", "speed", "teaching")


@dataclass(frozen=True)
class Contents:
    """What the navigation names: (name, title) of the notebooks' pages and of the docs' pages."""

    notebooks: tuple[tuple[str, str], ...]
    docs: tuple[tuple[str, str], ...]


def docs_files() -> list[Path]:
    """docs/*.md: those of DOCS_ORDER first, and whatever was added since behind them."""
    known = {path.stem: path for path in sorted(DOCS.glob("*.md"))}
    return [known.pop(name) for name in DOCS_ORDER if name in known] + list(known.values())


def docs_titles(files: Iterable[Path]) -> tuple[tuple[str, str], ...]:
    """The name and the heading of each."""
    return tuple((path.stem, plain(path.read_text(encoding="utf-8").partition("\n")[0])) for path in files)


def render(template: str, **given: object) -> str:
    """Fill one of the templates of this folder; what is not HTML already is escaped there."""
    loader = jinja2.FileSystemLoader(PARTS)
    return jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined).get_template(template).render(**given)


def write_page(folder: Path, notebook: NotebookNode, page: Page, contents: Contents) -> Path:
    """Convert one notebook."""
    given = {
        "name": page.name,
        "title": page.title,
        "question": page.question,
        "navigation": navigation(contents, page.name),
        "figures": script_json(page.figures),
        "widgets": script_json(page.widgets()),
    }
    exporter = Exporter(template_name="basic", template_file=str(PARTS / "page.html.j2"))
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    text, _ = exporter.from_notebook_node(notebook, {"page": given, "metadata": {"path": str(NOTEBOOKS)}})
    path = folder / f"{page.name}.html"
    path.write_text(relink(text), encoding="utf-8")
    return path


def write_docs(folder: Path, files: Iterable[Path], contents: Contents) -> None:
    """Convert the files of docs/; their pictures are put into the pages."""
    titles = dict(contents.docs)
    for path in files:
        body = relink(to_html(path.read_text(encoding="utf-8"), str(path.parent)))
        given = {"title": titles[path.stem], "navigation": navigation(contents, path.stem), "body": body}
        (folder / f"{path.stem}.html").write_text(render("docs.html.j2", **given), encoding="utf-8")


def navigation(contents: Contents, here: str) -> str:
    """The links at the head of every page."""
    return render("navigation.html.j2", notebooks=contents.notebooks, docs=contents.docs, here=here)


def write_shared(folder: Path) -> None:
    """The files that all pages use."""
    colours = [
        HtmlFormatter(style="default").get_style_defs(".highlight"),
        HtmlFormatter(style="github-dark").get_style_defs('[data-jp-theme-light="false"] .highlight'),
        ":is(.input_area, .rendered_html) .highlight, :is(.input_area, .rendered_html) .highlight pre "
        "{ background: var(--jp-layout-color2) !important; }",
    ]
    style = (PARTS / "site.css").read_text(encoding="utf-8")
    (folder / "site.css").write_text("\n".join([*colours, style]), encoding="utf-8")
    (folder / "site.js").write_text((PARTS / "site.js").read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")
