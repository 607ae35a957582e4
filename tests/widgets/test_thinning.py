"""More samples than a browser can hold: evenly chosen, with a word, and the state says what it did before."""

import warnings

import numpy as np
import pytest

from normkd_explore.widgets import SofteningExplorer
from normkd_explore.widgets.thinning import STATE_BYTES, carried_rows


def make(samples, classes, **options):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (2, samples, classes)).astype(np.float32)
    images = np.zeros((samples, 4, 4, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(samples) % 256
    names = [f"class {c}" for c in range(classes)]
    return logits, SofteningExplorer(*logits, images, np.arange(samples) % classes, names, **options)


def test_ten_thousand_samples_of_a_thousand_classes_are_thinned_out():
    """Once 148 MB without a word."""
    words = r"3,000 samples would make 24 MB.*showing 1,988, evenly spaced.*rows_N"
    with pytest.warns(UserWarning, match=words):
        logits, explorer = make(3000, 1000, state={"sample": 2998, "pinned": 7})
    sizes = [len(explorer._logits_t), len(explorer._logits_s), len(explorer._sprite)]
    assert sum(sizes) <= STATE_BYTES and sum(sizes) > STATE_BYTES * 0.9
    rows = explorer.rows_N
    assert rows[0] == 0 and rows[-1] == 2999 and set(np.diff(rows)) <= {1, 2, 3}
    assert rows[explorer.state["sample"]] == 2998 and rows[explorer.state["pinned"]] == 7
    assert np.array_equal(explorer.logits_s_NC, logits[1][rows]) and explorer.labels == (rows % 1000).tolist()


def test_what_fits_is_shown_as_it_is():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logits, explorer = make(300, 100, state={"sample": 299})
    assert explorer.rows_N.tolist() == list(range(300)) and explorer.state["sample"] == 299
    assert np.array_equal(explorer.logits_t_NC, logits[0])


def test_the_limit_itself_fits():
    assert len(carried_rows(10, 5, [], limit=50)) == 10
    with pytest.warns(UserWarning, match="showing 9"):
        assert len(carried_rows(10, 5, [], limit=49)) == 9


@pytest.mark.parametrize("keep", [[], [None], [3], [3, 4], [0, 9], [99, -1]])
def test_positions_that_are_asked_for_are_among_them_in_order(keep):
    with pytest.warns(UserWarning):
        rows = carried_rows(10, 1, keep, limit=4)
    assert len(set(rows.tolist())) == 4 and sorted(rows) == rows.tolist()
    assert {n for n in keep if n is not None and 0 <= n < 10} <= set(rows.tolist())
