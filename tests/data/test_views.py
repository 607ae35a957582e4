"""Views are numbered 0 .. count - 1, each number once, and the numbers can be read back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from normkd_explore.data import Views


def test_the_standard_recipe_has_162_views_and_glyphs_81():
    assert Views().count == 9 * 9 * 2
    assert Views(flip=False).count == 9 * 9


@settings(deadline=None, max_examples=20)
@given(pad=st.integers(0, 8), flip=st.booleans())
def test_encode_numbers_every_combination_exactly_once(pad, flip):
    views = Views(pad, flip)
    numbers = [
        views.encode(dy, dx, f)
        for dy in range(2 * pad + 1)
        for dx in range(2 * pad + 1)
        for f in range(2 if flip else 1)
    ]
    assert sorted(numbers) == list(range(views.count))


@settings(deadline=None, max_examples=20)
@given(pad=st.integers(0, 8), flip=st.booleans())
def test_decode_inverts_encode_for_tensors(pad, flip):
    views = Views(pad, flip)
    view_V = torch.arange(views.count)
    dy_V, dx_V, flip_V = views.decode(view_V)
    assert torch.equal(views.encode(dy_V, dx_V, flip_V), view_V)
    assert int(dy_V.max()) == int(dx_V.max()) == 2 * pad
    assert int(flip_V.max()) == int(flip)


def test_identity_is_the_central_unflipped_crop():
    assert Views(4).decode(Views(4).identity) == (4, 4, 0)
    assert Views(0, flip=False).identity == 0


def test_random_resized_crops_cannot_be_counted():
    views = Views(pad=0, countable=False)
    assert views.count == 0
    assert views.identity == -1


def test_negative_padding_is_refused():
    with pytest.raises(ValueError, match="pad must be 0 or more pixels, found -1"):
        Views(pad=-1)
