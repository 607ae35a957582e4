"""State dicts: compared, and under the names that wrappers give."""

from collections import OrderedDict

import torch


def prefixed(state, prefix):
    return OrderedDict((prefix + key, value) for key, value in state.items())


def assert_same(state, expected):
    assert list(state) == list(expected)
    assert all(torch.equal(state[key], expected[key]) for key in expected)
