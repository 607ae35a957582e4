"""Markdown as HTML: formulas become MathML, code is highlighted, links lead to pages of the site."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jinja2
from math_core import LatexToMathML
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

_TO_NOTEBOOK = re.compile(r'href="(?:\./|(?:\.\./)?notebooks/)?([\w-]+)\.ipynb(#[^"]*)?"')
_TO_DOC = re.compile(r'href="(?:\./|(?:\.\./)*docs/)?([a-z]+)\.md(#[^"]*)?"')


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


def to_html(markdown: str, folder: str = "") -> str:
    """Render Markdown whose pictures lie in `folder`."""
    return Exporter().markdown2html({"resources": {"metadata": {"path": folder}}}, markdown)


def relink(text: str) -> str:
    """Turn links to notebooks and to docs/*.md into links to their pages."""
    return _TO_DOC.sub(r'href="\1.html\2"', _TO_NOTEBOOK.sub(r'href="\1.html\2"', text))


def plain(heading: str) -> str:
    """A heading of Markdown without its marks."""
    return re.sub(r"[*`$\\]", "", heading.lstrip("# ").strip())


def first_words(notebook: NotebookNode, name: str) -> tuple[str, str]:
    """The notebook's heading as plain text, and its first paragraph as Markdown."""
    text = next((cell.source for cell in notebook.cells if cell.cell_type == "markdown"), "")
    heading, _, rest = text.partition("\n")
    paragraph = rest.strip().partition("\n\n")[0].removeprefix("**The question.**").strip()
    return plain(heading) or name, paragraph
