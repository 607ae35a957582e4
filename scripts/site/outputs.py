"""What a notebook's page needs of its outputs: places for widgets and figures, their data, and their still pictures."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nbformat import NotebookNode

from scripts.build_notebooks import IGNORED, PLOTLY, SVG, WIDGET, is_noise, load_sanitizer
from scripts.site.text import first_words

FALLBACK = "<style data-nk-still="
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"


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

    def widgets(self) -> dict[str, Any] | None:
        """All that the page's script needs of its widgets; None where there is none."""
        return {"models": self.models, "modules": self.modules, "styles": self.styles} if self.models else None


def script_json(value: object) -> str:
    """JSON that may stand inside a <script> element."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")


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
