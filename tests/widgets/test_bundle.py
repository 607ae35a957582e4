"""Modules and styles joined for a widget: one scope, in order, and no explorer's style reaches another."""

import re

import pytest

from normkd_explore.widgets.bundle import FOLDER, join_modules, join_styles
from tests.helpers.node import run_node

# Each of them ends in `export default`, so a bundle has one of them at most.
ENTRIES = ("answers", "federated", "herowidget", "methodgrid", "race", "softening")
PREFIXES = {
    "answers": (".nk-bb",),
    "federated": (".nk-fed",),
    "hero": (".nk-hero", ".nk-dial"),
    "methodgrid": (".nk-grid",),
    "race": (".nk-race",),
    "softening": (".nk-softening",),
}


def others():
    return sorted({path.stem for path in FOLDER.glob("*.js")} - set(ENTRIES))


@pytest.mark.parametrize("entry", ENTRIES)
def test_joined_module_imports_nothing_and_has_one_default(tmp_path, entry):
    source = join_modules(entry)
    assert "import {" not in source and source.count("export default") == 1
    answer = "import all from './all.js'; console.log(JSON.stringify(typeof all.render));"
    (tmp_path / "all.js").write_text(source)
    assert run_node(tmp_path, answer) == "function"


def test_parts_of_one_name_in_two_modules_do_not_meet(tmp_path):
    """A page that takes all parts joins them; each keeps a scope of its own."""
    (tmp_path / "all.js").write_text(
        join_modules(*others()) + "\nexport const found = [$scale.roundUp(7), $gauge, $hero];"
    )
    script = "import { found } from './all.js'; console.log(JSON.stringify([found[0], typeof found[2].createHero]));"
    assert run_node(tmp_path, script) == [8, "function"]


def test_every_module_comes_after_what_it_imports_and_once():
    source = join_modules("softening")
    order = re.findall(r"^const \$(\w+) = \(\(\) => \{$", source, re.MULTILINE)
    assert len(order) > 12 and len(set(order)) == len(order)
    for name in order:
        for needed in re.findall(r'from "\./(\w+)\.js"', (FOLDER / f"{name}.js").read_text()):
            assert order.index(needed) < order.index(name), (name, needed)


def test_an_import_that_cannot_be_joined_is_refused(tmp_path, monkeypatch):
    (tmp_path / "bad.js").write_text('import * as all from "./formulas.js";\n')
    (tmp_path / "a.js").write_text('import { b } from "./b.js";\n')
    (tmp_path / "b.js").write_text('import { a } from "./a.js";\n')
    monkeypatch.setattr("normkd_explore.widgets.bundle.FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"bad\.js has an import"):
        join_modules("bad")
    with pytest.raises(ValueError, match="a > b > a: these modules import each other"):
        join_modules("a")


def selectors(css):
    """All selectors of a style sheet; commas inside brackets do not part them."""
    bare = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    heads = [head.strip() for head in re.findall(r"(?:^|[{};])([^{};]*)(?=\{)", bare)]
    for head in heads:
        if head.startswith("@"):
            continue
        yield from (part.strip() for part in re.split(r",(?![^(\[]*[)\]])", head))


def test_selectors_are_told_apart():
    css = "/* a, b */ .x, .y:is(p, q) { color: red; } @container (max-width: 9px) { .z > i { top: 0; } }"
    assert list(selectors(css)) == [".x", ".y:is(p, q)", ".z > i"]


@pytest.mark.parametrize("name", PREFIXES)
def test_a_style_names_its_own_explorer_in_every_selector(name):
    """A page with several explorers loads all their styles."""
    foreign = [
        selector
        for selector in selectors((FOLDER / f"{name}.css").read_text())
        if not any(prefix in selector for prefix in PREFIXES[name])
    ]
    assert foreign == []
    assert join_styles(name).startswith((FOLDER / "base.css").read_text()[:80])


@pytest.mark.parametrize("name", ["base", *PREFIXES])
def test_no_text_is_written_under_12_pixels(name):
    css = (FOLDER / f"{name}.css").read_text()
    sizes = [float(size) for size in re.findall(r"font(?:-size)?:[^;}]*?([\d.]+)px", css)]
    assert [size for size in sizes if size < 12] == []
