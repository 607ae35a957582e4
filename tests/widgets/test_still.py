"""The picture that stays where a live view is gone."""

import re
from urllib.parse import unquote

import numpy as np
import pytest

from normkd_explore.figures.svg import Svg, place
from normkd_explore.widgets.still import fallback_style
from tests.helpers.hero import make_hero


def test_coordinates_are_short_and_never_minus_nought():
    assert [place(value) for value in (-0.04, 12.0, 3.14, -2.26, 0.96)] == ["0", "12", "3.1", "-2.3", "1"]


def test_words_are_escaped():
    svg = Svg(10, 10, 'a < b & "c"')
    svg.text(1, 2, "p < q & r")
    assert "p &lt; q &amp; r" in str(svg) and "<title>a &lt; b &amp; &quot;c&quot;</title>" in str(svg)


def test_pixels_are_stored_as_they_are():
    svg = Svg(10, 10, "x")
    svg.picture(0, 0, 8, np.zeros((2, 2, 3), np.uint8))
    svg.picture(0, 0, 8, np.zeros((2, 2, 1), np.uint8))
    first, second = re.findall(r'href="([^"]+)"', str(svg))
    assert first == second and first.startswith("data:image/bmp;base64,Qk")


def test_style_holds_the_picture_and_cannot_end_early():
    svg = Svg(10, 10, 'the "words" of it')
    svg.text(0, 0, "100 % #1 </style> (x) 'y' \\")
    style = fallback_style(svg)
    assert style.count("</style>") == 1 and style.endswith("</style>")
    address = re.search(r'url\("([^"]+)"\) / "the ”words” of it"', style)[1]
    assert unquote(address.removeprefix("data:image/svg+xml,")) == str(svg)
    assert not set('#"<>\\\n') & set(address)


@pytest.fixture
def displayed(monkeypatch):
    """Bundles that a widget hands to the front end."""
    shown = []
    monkeypatch.setattr("normkd_explore.widgets.still.display", lambda data, **options: shown.append(data))
    return shown


def test_a_widget_shows_a_style_and_then_itself_with_its_picture(displayed):
    hero = make_hero()
    hero._ipython_display_()
    style, view = displayed
    assert set(style) == {"text/html", "text/plain"} and style["text/plain"] == ""
    assert view["image/svg+xml"] == str(hero.still()) and view["text/plain"] == "Hero(c4, c7)"
    assert view["application/vnd.jupyter.widget-view+json"]["model_id"] == hero.model_id
    key = re.search(r"data-nk-still=\"(\w+)\"", style["text/html"])[1]
    assert style["text/html"].count(key) == 3 and key == hero.still().key()
