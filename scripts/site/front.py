"""The site's front page: one article whose figures answer in the page itself.

The text is front/article.html.j2, its figures are the modules of front/ on top of the explorers' own; the numbers come
from the shipped models and from normkd_explore/results.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from normkd_explore.analysis.softness import softness_band
from normkd_explore.analysis.suited_temperature import top_bound
from normkd_explore.widgets import Hero
from normkd_explore.widgets.bundle import join_modules, join_styles
from scripts.site import measured, stills
from scripts.site.outputs import Page, digest, script_json, svg_picture
from scripts.site.pages import PARTS, Contents, navigation, render
from scripts.site.samples import (
    Samples,
    cloud_data,
    digits_data,
    facts_of,
    hero_of,
    load_samples,
    sample_data,
)
from scripts.site.text import to_html

FRONT = PARTS / "front"
TITLE = "One temperature does not fit both"
DESCRIPTION = (
    "Drag a temperature and watch two predictions: no T softens both well. What NormKD does about it, what that does "
    "to a student, and what was measured, with n and spread."
)
LENS, PULL, PRODUCTS = "O", "O", 6


def add_hero(page: Page, hero: Hero) -> None:
    """Give the hero to the page's script, as a notebook would have stored it."""
    page.models["hero"] = {
        "module": digest(str(hero._esm), page.modules),
        "style": digest(str(hero._css), page.styles),
        "state": {"_setup": hero._setup, "state": hero.state},
        "buffers": [[[name], base64.b64encode(getattr(hero, name)).decode()] for name in ("_logits", "_sprite")],
    }


def figures_data(samples: Samples) -> dict[str, Any]:
    """What the figures of front/ are given."""
    names = list(samples.dataset.class_names)
    return {
        "names": names,
        "band": softness_band(len(names)),
        "lens": sample_data(samples, samples.first_of(LENS)),
        "cloud": cloud_data(samples),
        "products": [sample_data(samples, n) for n in samples.spread(PRODUCTS)],
        "digits": digits_data(samples, samples.first_of(PULL)),
        "race": measured.race_data(),
    }


def write_front(folder: Path, contents: Contents, words: Mapping[str, tuple[str, str]], address: str = "") -> Path:
    """Write index.html and the picture for links.

    Args:
        folder: where the site goes.
        contents: of the navigation.
        words: title and question of each notebook, in Markdown.
        address: where the site will stand, ending in "/": a shared link shows its picture only by a whole address.
    """
    samples = load_samples()
    hero, data = hero_of(samples), figures_data(samples)
    page = Page("index", TITLE, DESCRIPTION)
    add_hero(page, hero)
    groups, whole = measured.lesson_rows(), measured.whole_trainings()
    given = {
        "title": TITLE,
        "description": DESCRIPTION,
        "address": address,
        "navigation": navigation(contents, "index"),
        "cards": [(name, title, to_html(question)) for name, (title, question) in words.items()],
        "style": join_styles("hero", "race") + (FRONT / "front.css").read_text(encoding="utf-8"),
        "script": join_modules("front", folders=(FRONT,)),
        "widgets": script_json(page.widgets()),
        "data": script_json(data),
        "stills": {name: svg_picture(str(svg)) for name, svg in stills.draw_all(hero, samples, data).items()},
        "groups": groups,
        "rows": measured.rows_by_step_size(groups),
        "lead": measured.lead,
        "ten_classes": 100 * top_bound(10, 2.0),
        "whole": whole,
        "real": any(not name.startswith("glyphs") for name, _ in whole),
        "race_seeds": len(data["race"]["laps"]),
        "race_command": data["race"]["command"],
        "facts": facts_of(samples, data["cloud"]),
    }
    path = folder / "index.html"
    path.write_text(render("front/article.html.j2", **given), encoding="utf-8")
    shutil.copy(FRONT / "card.png", folder / "card.png")
    return path
