"""Modules and styles joined for a widget: one scope, in order, and no explorer's style reaches another."""

import re
import shutil
import subprocess

import pytest

from normkd_explore.widgets.bundle import FOLDER, join_modules, join_styles

# Each of them ends in `export default`, so a bundle has one of them; the article has none.
ENTRIES = ("federated", "herowidget", "methodgrid", "race", "softening")
DECLARED = re.compile(r"^(?:export )?(?:async )?(?:function|const|let|class) (\w+)", re.MULTILINE)
PREFIXES = {
    "federated": (".nk-fed",),
    "hero": (".nk-hero", ".nk-dial"),
    "methodgrid": (".nk-grid",),
    "race": (".nk-race",),
    "softening": (".nk-softening",),
}


def others():
    return sorted({path.stem for path in FOLDER.glob("*.js")} - set(ENTRIES))


@pytest.mark.parametrize("entry", ENTRIES)
def test_joined_module_is_one_scope_without_imports(tmp_path, entry):
    source = join_modules(entry)
    assert "import {" not in source and source.count("export default") == 1
    declared = DECLARED.findall(source)
    assert len(declared) == len(set(declared))
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on PATH to parse the module")
    (tmp_path / "all.mjs").write_text(source)
    subprocess.run([node, "--check", "all.mjs"], cwd=tmp_path, check=True)


def test_all_parts_fit_into_one_page():
    """A page that takes any of them joins them without a clash of names."""
    declared = DECLARED.findall(join_modules(*others()))
    assert sorted(declared) == sorted(set(declared))


def test_every_module_comes_after_what_it_imports_and_once():
    source = join_modules("softening")
    names = [name for name in others() if f"\n{(FOLDER / f'{name}.js').read_text().splitlines()[0]}" in f"\n{source}"]
    assert len(names) > 8
    for name in names:
        text = (FOLDER / f"{name}.js").read_text()
        assert source.count(text.splitlines()[0]) == 1
        for needed in re.findall(r'from "\./(\w+)\.js"', text):
            first = (FOLDER / f"{needed}.js").read_text().splitlines()[0]
            assert source.index(first) < source.index(text.splitlines()[0]), (name, needed)


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
