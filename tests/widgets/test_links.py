"""A view as text: written and read alike in Python and on the page."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normkd_explore.widgets.links import check_name, read_link, write_link
from normkd_explore.widgets.softening import CHOICES, START
from tests.helpers.node import run_node

STATES = st.fixed_dictionaries(
    {
        "sample": st.integers(0, 63),
        "pinned": st.none() | st.integers(0, 63),
        "T": st.integers(5, 200).map(lambda n: n / 10),
        "T_norm": st.integers(10, 500).map(lambda n: n / 100),
        **{key: st.sampled_from(values) for key, values in CHOICES.items()},
    }
)


@given(STATES)
def test_a_view_comes_back(state):
    text = write_link("explorer", state, START)
    assert {**START, **read_link(text, "explorer")} == state
    assert " " not in text and '"' not in text


def test_a_whole_address_and_one_view_of_several():
    address = "https://example.org/a%20b.html#hero:T=3.5,mode=own;explorer:sample=2"
    assert read_link(address, "hero") == {"T": 3.5, "mode": "own"}
    assert read_link("#hero:T=3", "explorer") == {"T": 3}, "a single view is taken whatever its name"
    assert read_link("pinned=none,tie=false", "explorer") == {"pinned": None, "tie": False}
    with pytest.raises(ValueError, match="holds the views hero, explorer, wanted one called other"):
        read_link(address, "other")
    with pytest.raises(ValueError, match="'T' is no part of a view"):
        read_link("hero:T", "hero")
    with pytest.raises(ValueError, match="holds no view"):
        read_link("#The-task", "hero")
    with pytest.raises(ValueError, match="name is 'Hero'"):
        check_name("Hero")


def test_the_page_writes_and_reads_the_same(tmp_path):
    states = [
        START,
        {**START, "sample": 3, "pinned": 7, "T": 6.5, "tie": False},
        {**START, "T": 12.0, "T_norm": 0.35, "show": "gradients", "classes": "all", "scale": "log", "sort": "std"},
    ]
    script = """
        import { followAddress } from "./links.js";
        globalThis.location = { href: "https://example.org/x.html#The-task" };
        globalThis.history = { state: null, replaceState: (_, __, address) => (location.href = address) };
        const explorer = followAddress({ name: "explorer", start: given.start }, (key) => key !== "sort");
        const hero = followAddress({ name: "hero", start: { T: 4 } }, () => true);
        hero.write({ T: 5 });
        console.log(JSON.stringify(given.states.map((state) => {
          explorer.write(state);
          globalThis.nkTakenLinks?.clear();  // as a page that is opened anew
          return [location.href, explorer.read(), hero.read(), explorer.read()];
        })));
    """
    for state, (address, back, hero, again) in zip(
        states, run_node(tmp_path, script, {"states": states, "start": START}), strict=True
    ):
        assert address == f"https://example.org/x.html#hero:T=5;{write_link('explorer', state, START)}"
        assert back == {**state, "sort": START["sort"]}, "what the page does not accept stays as it was"
        assert hero == {"T": 5}
        assert again is None, "a cell that is run again shows what it says"
