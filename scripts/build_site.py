"""Export every notebook to a folder of static pages whose explorers answer without a kernel and without a network.

    python scripts/build_site.py                          all notebooks into site/
    python scripts/build_site.py 02_normkd_training       one
    python scripts/build_site.py --folder pages           into another folder

Each notebook is run once. Its page holds the state of its widgets and the data of its figures; a small script gives
them to the widgets' own modules. The pictures stored in the .ipynb stand in their place where scripts do not run. The
pages work from any static server and straight from the disk.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import html
import json
import re
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import nbformat
from math_core import LatexToMathML
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from plotly.offline import get_plotlyjs
from pygments.formatters import HtmlFormatter

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.build_notebooks import IGNORED, NOTEBOOKS, PLOTLY, SVG, WIDGET, execute, is_noise, load_sanitizer  # noqa: E402

FALLBACK = "<style data-nk-still="
PARTS = Path(__file__).resolve().parent / "site"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
NOTEBOOK_LINK = re.compile(r'href="(?:\./)?([\w-]+)\.ipynb(#[^"]*)?"')


@dataclass
class Page:
    """What a page's script needs: figures, and of the widgets the states, modules and styles."""

    name: str
    title: str
    question: str
    figures: list[Any] = field(default_factory=list)
    models: dict[str, Any] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)
    styles: dict[str, str] = field(default_factory=dict)


def script_json(value: object) -> str:
    """JSON that may stand inside a <script> element."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")


# --- text ----------------------------------------------------------------------------------------------------


class Renderer(IPythonRenderer):
    """Markdown with formulas as MathML, which browsers draw themselves."""

    math = LatexToMathML()

    def inline_math(self, body: str) -> str:
        return self.math.convert_with_local_state(body, displaystyle=False)

    def block_math(self, body: str) -> str:
        return self.math.convert_with_local_state(body, displaystyle=True)

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(f"\\begin{{{name}}}{body}\\end{{{name}}}")


class Exporter(HTMLExporter):
    """nbconvert's HTML with our template and our formulas."""

    @jinja2.pass_context
    def markdown2html(self, context: Mapping[str, Any], source: str) -> str:
        cell = context.get("cell", {})
        renderer = Renderer(
            escape=False,
            embed_images=True,
            exclude_anchor_links=True,
            path=context.get("resources", {}).get("metadata", {}).get("path", ""),
            attachments=cell.get("attachments", {}),
        )
        return MarkdownWithMath(renderer=renderer).render(source)


def first_words(notebook: NotebookNode, name: str) -> tuple[str, str]:
    """The notebook's heading as plain text, and its first paragraph as Markdown."""
    text = next((cell.source for cell in notebook.cells if cell.cell_type == "markdown"), "")
    heading, _, rest = text.partition("\n")
    paragraph = rest.strip().partition("\n\n")[0].removeprefix("**The question.**").strip()
    return re.sub(r"[*`$\\]", "", heading.lstrip("# ").strip()) or name, paragraph


# --- outputs -------------------------------------------------------------------------------------------------


def stored_pictures(notebook: NotebookNode) -> list[list[str]]:
    """The base64 PNGs that stand beside the figures of each cell, in order."""
    outputs = [[output.get("data", {}) for output in cell.get("outputs", [])] for cell in notebook.cells]
    return [[data["image/png"] for data in own if PLOTLY in data and "image/png" in data] for own in outputs]


def still(output: NotebookNode, pictures: list[str]) -> str:
    """What stands in a widget's or a figure's place until a script has drawn it: its picture, else its text."""
    text = html.escape(output.data.get("text/plain", "figure"))
    if SVG in output.data:
        return svg_picture(output.data[SVG])
    if not pictures:
        return f'<pre class="still">{text}</pre>'
    return f'<img class="still" alt="{text}" src="data:image/png;base64,{pictures.pop(0)}">'


def svg_picture(svg: str) -> str:
    """An SVG as an image, so that its styles stay its own; its title is the text for those who cannot see it."""
    title = re.search(r"<title>(.*?)</title>", svg)
    source = base64.b64encode(svg.encode()).decode()
    return f'<img class="still" alt="{title[1] if title else ""}" src="data:image/svg+xml;base64,{source}">'


def digest(text: str, table: dict[str, str]) -> str | None:
    """Put a text into a table under its own hash."""
    if not text:
        return None
    key = hashlib.sha256(text.encode()).hexdigest()[:12]
    table[key] = text
    return key


def add_model(page: Page, model_id: str, saved: Mapping[str, Any]) -> None:
    """Take over a widget's state; module and style are shared by all widgets of a class."""
    state = {key: value for key, value in saved["state"].items() if key not in ("_esm", "_css", "layout")}
    page.models[model_id] = {
        "module": digest(saved["state"]["_esm"], page.modules),
        "style": digest(saved["state"].get("_css", ""), page.styles),
        "state": state,
        "buffers": [[buffer["path"], buffer["data"]] for buffer in saved.get("buffers", [])],
    }


def make_live(page: Page, output: NotebookNode, states: Mapping[str, Any], pictures: list[str]) -> None:
    """Replace a widget's or figure's output by a place that the page's script fills."""
    data = output.get("data", {})
    model_id = data.get(WIDGET, {}).get("model_id")
    if "_esm" in states.get(model_id, {}).get("state", {}):
        add_model(page, model_id, states[model_id])
        attribute = f'data-model="{model_id}"'
    elif PLOTLY in data:
        attribute = f'data-figure="{len(page.figures)}"'
        page.figures.append({key: data[PLOTLY].get(key) for key in ("data", "layout")})
    else:
        data.pop(WIDGET, None)
        return
    output.data = NotebookNode({"text/html": f'<figure class="live" {attribute}>{still(output, pictures)}</figure>'})


def tidy(notebook: NotebookNode) -> None:
    """Drop progress bars, and what only this machine knows."""
    sanitize = load_sanitizer()
    for cell in notebook.cells:
        if IGNORED in cell.metadata.get("tags", []):
            cell.outputs = [output for output in cell.outputs if not is_noise(output)]
        if "outputs" in cell:  # a page needs no style for JupyterLab's message
            cell.outputs = [
                output for output in cell.outputs if FALLBACK not in output.get("data", {}).get("text/html", "")
            ]
        for output in cell.get("outputs", []):
            if "text" in output:
                output["text"] = sanitize(output["text"])


def collect(notebook: NotebookNode, pictures: list[list[str]], name: str) -> Page:
    """Move what scripts need out of a notebook that ran, and leave places for it."""
    tidy(notebook)
    page = Page(name, *first_words(notebook, name))
    states = notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    for cell, own in zip(notebook.cells, pictures, strict=True):
        for output in cell.get("outputs", []):
            make_live(page, output, states, own)
    notebook.metadata.pop("widgets", None)
    return page


# --- pages ---------------------------------------------------------------------------------------------------


def write_page(folder: Path, notebook: NotebookNode, page: Page, others: Iterable[tuple[str, str]]) -> Path:
    """Convert one notebook."""
    widgets = {"models": page.models, "modules": page.modules, "styles": page.styles}
    given = {
        "name": page.name,
        "title": page.title,
        "others": list(others),
        "figures": script_json(page.figures),
        "widgets": script_json(widgets if page.models else None),
    }
    exporter = Exporter(template_name="basic", template_file=str(PARTS / "page.html.j2"))
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    text, _ = exporter.from_notebook_node(notebook, {"page": given, "metadata": {"path": str(NOTEBOOKS)}})
    path = folder / f"{page.name}.html"
    path.write_text(NOTEBOOK_LINK.sub(r'href="\1.html\2"', text), encoding="utf-8")
    return path


def write_shared(folder: Path, pages: Iterable[Page]) -> None:
    """The files that all pages use, and the list of pages."""
    colours = [
        HtmlFormatter(style="default").get_style_defs(".highlight"),
        HtmlFormatter(style="github-dark").get_style_defs('[data-jp-theme-light="false"] .highlight'),
        ".input_area .highlight, .input_area .highlight pre { background: var(--jp-layout-color2) !important; }",
    ]
    style = (PARTS / "site.css").read_text(encoding="utf-8")
    (folder / "site.css").write_text("\n".join([*colours, style]), encoding="utf-8")
    (folder / "site.js").write_text((PARTS / "site.js").read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")
    cards = [(page.name, page.title, Exporter().markdown2html({}, page.question)) for page in pages]
    template = jinja2.Template((PARTS / "index.html.j2").read_text(encoding="utf-8"))
    (folder / "index.html").write_text(template.render(pages=cards), encoding="utf-8")


def build(sources: Iterable[Path], folder: Path) -> None:
    """Run the notebooks and write their pages, the shared files and the index."""
    folder.mkdir(parents=True, exist_ok=True)
    notebooks = {source.stem: nbformat.read(source, as_version=4) for source in sources}
    titles = {name: first_words(notebook, name)[0] for name, notebook in notebooks.items()}
    pages = []
    for name, notebook in notebooks.items():
        started = time.monotonic()
        pictures = stored_pictures(notebook)
        execute(notebook)
        pages.append(collect(notebook, pictures, name))
        path = write_page(folder, notebook, pages[-1], titles.items())
        print(f"{path.name}  {path.stat().st_size / 1e6:.1f} MB  {time.monotonic() - started:.0f} s", flush=True)
    write_shared(folder, pages)


def main() -> None:
    parser = argparse.ArgumentParser(description="Export the notebooks to static pages that work without a kernel.")
    parser.add_argument("names", nargs="*", help="such as 02_normkd_training; all when left out")
    parser.add_argument("--folder", type=Path, default=ROOT / "site", help="where the pages go (default: site)")
    args = parser.parse_args()
    names = [Path(name).stem for name in args.names]
    sources = [NOTEBOOKS / f"{name}.ipynb" for name in names] or sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    for source in sources:
        if not source.exists():
            sys.exit(f"{source.relative_to(ROOT)} does not exist; `make notebooks` builds it")
    build(sources, args.folder)


if __name__ == "__main__":
    main()
