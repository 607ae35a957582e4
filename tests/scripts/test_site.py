"""The pages that `make site` writes, without a browser: formulas, links, and what the widgets' script is given."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from math_core import LatexError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from normkd_explore.training.progress.view import MARK
from scripts import build_notebooks
from scripts.site.outputs import WIDGET_STATE as STATE
from scripts.site.outputs import collect, script_json, stored_pictures
from scripts.site.pages import Contents, docs_files, docs_titles, write_docs, write_page, write_shared
from scripts.site.text import Exporter, first_words

NOTEBOOKS = sorted(build_notebooks.NOTEBOOKS.glob("*.ipynb"))
WIDGET, PLOTLY = build_notebooks.WIDGET, build_notebooks.PLOTLY
CONTENTS = Contents((("01_some", "A heading"), ("02_other", "Other <b>")), docs_titles(docs_files()))
PNG = "iVBORw0KGgo="
FIGURE = {"data": [{"y": [1, 2], "type": "bar"}], "layout": {"title": {"text": "</script>"}}}


def widget(module="export default {}", style=".nk {}"):
    """A widget's state as nbclient stores it."""
    buffers = [{"path": ["numbers"], "data": "AACAPw==", "encoding": "base64"}]
    return {"state": {"_esm": module, "_css": style, "layout": "IPY_MODEL_x", "state": {"T": 4.0}}, "buffers": buffers}


def shown(model_id):
    data = {WIDGET: {"model_id": model_id}, "text/plain": "Explorer(<5>)", PLOTLY: FIGURE}
    return new_output("execute_result", data, execution_count=1)


@pytest.fixture
def notebook():
    """A notebook that ran: two widgets of one class, one of them shown twice, a figure and progress."""
    progress = {"text/plain": "epoch 0/3", "text/html": "<pre>epoch 0/3</pre>"}
    renewed = new_output("display_data", progress, metadata=MARK)
    cells = [
        new_markdown_cell(
            "# A `heading`\n\n**The question.** What is $T_\\text{norm}$?\n\nSee [there](02_other.ipynb#part)."
        ),
        new_code_cell("a", outputs=[shown("one"), shown("one"), shown("two")]),
        new_code_cell("b", outputs=[new_output("display_data", {PLOTLY: FIGURE, "text/plain": "Figure"})]),
        new_code_cell("c", outputs=[renewed], metadata={"tags": [build_notebooks.IGNORED]}),
        new_code_cell("d", outputs=[new_output("stream", name="stdout", text="a < b at 0x7f1234567890")]),
    ]
    states = {"one": widget(), "two": widget(), "other": {"state": {"value": 3}}}
    return new_notebook(cells=cells, metadata={"widgets": {STATE: {"state": states}}})


@pytest.fixture
def page(notebook):
    return collect(notebook, [[], ["QUJD"], [PNG], [], []], "01_some")


@pytest.fixture
def soup(notebook, page, tmp_path):
    """The written page, parsed."""
    path = write_page(tmp_path, notebook, page, CONTENTS)
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def test_widgets_of_one_class_share_their_module_and_keep_their_own_state(page, soup):
    assert set(page.models) == {"one", "two"}
    assert list(page.modules.values()) == ["export default {}"] and list(page.styles.values()) == [".nk {}"]
    given = json.loads(soup.find(id="widgets").string)
    assert given["models"]["one"]["state"] == {"state": {"T": 4.0}}
    assert given["models"]["one"]["buffers"] == [[["numbers"], "AACAPw=="]]
    assert given["modules"][given["models"]["two"]["module"]] == "export default {}"
    assert [node["data-model"] for node in soup.select("[data-model]")] == ["one", "one", "two"]


def test_the_stored_picture_stands_in_until_a_script_runs_and_text_where_there_is_none(soup):
    explorers, figure = soup.select("[data-model] .still"), soup.select_one("[data-figure] .still")
    assert [node.name for node in explorers] == ["img", "pre", "pre"]
    assert (explorers[0]["alt"], explorers[1].string) == ("Explorer(<5>)", "Explorer(<5>)")
    assert explorers[0]["src"] == "data:image/png;base64,QUJD"
    assert figure["src"] == f"data:image/png;base64,{PNG}"


def test_a_widgets_own_picture_stands_in_with_its_title_and_without_the_style_for_jupyterlab():
    data = {WIDGET: {"model_id": "one"}, "text/plain": "Hero", "image/svg+xml": "<svg><title>a &amp; b</title></svg>"}
    style = new_output("display_data", {"text/html": '<style data-nk-still="ab">x</style>', "text/plain": ""})
    cell = new_code_cell("a", outputs=[style, new_output("display_data", data)])
    notebook = new_notebook(cells=[cell], metadata={"widgets": {STATE: {"state": {"one": widget()}}}})
    collect(notebook, [[]], "01_some")
    (output,) = cell.outputs
    image = BeautifulSoup(output.data["text/html"], "html.parser").select_one("[data-model=one] img.still")
    assert image["alt"] == "a & b" and image["src"].startswith("data:image/svg+xml;base64,")


def test_figures_go_to_the_script_and_cannot_end_it(soup):
    assert json.loads(soup.find(id="figures").string) == [FIGURE]
    assert script_json("</script>") == '"\\u003c/script>"'


def test_noise_and_addresses_are_left_out(soup):
    assert "0/3" not in soup.get_text()
    assert "a < b at 0xADDR" in soup.get_text()


def test_a_page_names_itself_and_its_neighbours(notebook, soup):
    assert first_words(notebook, "01_some") == ("A heading", "What is $T_\\text{norm}$?")
    assert soup.title.string == "A heading"
    (here,) = soup.select("nav [aria-current]")
    assert (here["href"], here.get_text()) == ("01_some.html", "01 A heading")
    assert soup.select_one('nav a[href="02_other.html"]').get_text() == "02 Other <b>"
    assert soup.select_one('nav a[href="methods.html"]').string == "Methods"
    assert soup.find("a", string="there")["href"] == "02_other.html#part"


def test_formulas_become_mathml(soup):
    assert str(soup.math) == "<math><msub><mi>T</mi><mtext>norm</mtext></msub></math>"
    block = Exporter().markdown2html({}, "$$\\frac{1}{2}$$")
    assert re.search(r'<math display="block">.*<mfrac><mn>1</mn><mn>2</mn></mfrac>', block)
    with pytest.raises(LatexError, match="nonsense"):
        Exporter().markdown2html({}, "$\\nonsense$")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_has_a_title_a_question_and_formulas_that_can_be_drawn(path: Path):
    notebook = nbformat.read(path, as_version=4)
    title, question = first_words(notebook, path.stem)
    assert title != path.stem and len(question) > 20
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text = Exporter().markdown2html({"cell": cell}, cell.source)
            assert not re.search(r"\$\$|\\begin", re.sub(r"<code>.*?</code>|<pre>.*?</pre>", "", text, flags=re.DOTALL))


def test_only_pictures_of_figures_stand_in_for_figures():
    data = [{"image/png": "a photo"}, {PLOTLY: FIGURE, "image/png": "a figure"}]
    cell = new_code_cell(outputs=[new_output("display_data", each) for each in data])
    assert stored_pictures(new_notebook(cells=[new_markdown_cell("text"), cell])) == [[], ["a figure"]]


def test_code_is_folded_and_highlighted(soup):
    folds = soup.select("details.code")
    assert [fold.summary.string for fold in folds] == ["show code"] * 4 and not folds[0].has_attr("open")
    assert folds[0].select_one(".highlight .n").string == "a"


def test_every_document_is_a_page_with_its_tables_code_and_links(tmp_path):
    files = docs_files()
    assert [path.stem for path in files][:2] == ["training", "own"]
    assert {path.name for path in files} == {path.name for path in files[0].parent.glob("*.md")}
    write_docs(tmp_path, files, CONTENTS)
    pages = {path.stem: BeautifulSoup((tmp_path / f"{path.stem}.html").read_text(), "html.parser") for path in files}
    assert pages["results"].title.string == "Results measured with this package · NormKD"
    assert len(pages["results"].select("table tr")) > 10
    assert pages["methods"].select_one("pre .k").string == "import" or pages["methods"].select_one("pre .kn")
    assert pages["training"].find("a", string="your own")["href"] == "own.html"
    for page in pages.values():
        assert [node["href"] for node in page.select("nav ul a")][:2] == ["01_some.html", "02_other.html"]


def test_nothing_is_loaded_from_elsewhere(page, soup, tmp_path):
    write_shared(tmp_path)
    files = ("01_some.html", "site.css", "site.js")
    own = [(tmp_path / name).read_text(encoding="utf-8") for name in files]
    for part in own:
        assert re.findall(r"""(?:src|href)=["']?(?:https?:)?//|@import|url\(|https?://""", part) == []
    needed = {node.get("src") or node.get("href") for node in soup.select("script[src], link[href]")}
    assert needed == {"site.css", "site.js", "plotly.min.js", "data:,"}
    assert (tmp_path / "plotly.min.js").stat().st_size > 1_000_000
