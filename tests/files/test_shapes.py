"""What is said about values of another type than a hint asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NotRequired, TypedDict

import pytest

from normkd_explore.files.shapes import mismatch


class Split(TypedDict):
    top1: float
    n: NotRequired[int]


@dataclass
class Inner:
    weight: float = 1.0
    loss: dict[str, Any] = field(default_factory=dict)


@dataclass
class Outer:
    name: str
    inner: Inner
    teacher: str | None = None
    miles: tuple[int, ...] = ()
    shape: Literal["step", "cycle"] = "step"


GOOD = [
    (1, int), (1, float), (1.5, float), (True, bool), (None, None), ("x", str), ({}, dict), ([], list),
    (1j, Any), (None, str | None), ("x", str | None), (3, str | int), ([1, 2], tuple[int, ...]),
    ([], list[str]), ({"a": 1}, dict[str, int]), ({"top1": 1}, Split), ({"top1": 0.5, "n": 3, "more": []}, Split),
    ({"name": "x", "inner": {}}, Outer),
    ({"name": "x", "inner": {"weight": 2}, "teacher": None, "miles": [1], "shape": "cycle"}, Outer),
    ([{"top1": 1.0}], list[Split]), ("step", Literal["step", "cycle"]), ({"top1": 1}, Split | None),
    (None, Split | None),
]  # fmt: skip
BAD = [
    ("1", int, "it is '1', wanted a whole number"),
    (1.0, int, "it is 1.0, wanted a whole number"),
    (True, int, "it is True, wanted a whole number"),
    (True, float, "it is True, wanted a number"),
    (1, bool, "it is 1, wanted true or false"),
    (None, str, "it is None, wanted a text"),
    (1, str | None, "it is 1, wanted a text or nothing"),
    ([], dict, "it is [], wanted named values"),
    ("abc", list[str], "it is 'abc', wanted a list"),
    ([1, "b"], list[int], "[1] is 'b', wanted a whole number"),
    ([0, 1, 2.5], tuple[int, ...], "[2] is 2.5, wanted a whole number"),
    ({"a": 1, "b": None}, dict[str, int], "b is None, wanted a whole number"),
    ({}, Split, "top1 is missing"),
    ({"top1": "high"}, Split, "top1 is 'high', wanted a number"),
    ({"top1": 1, "n": "3"}, Split, "n is '3', wanted a whole number"),
    ({"a": {"top1": None}}, dict[str, Split], "a.top1 is None, wanted a number"),
    ({"name": "x"}, Outer, "inner is missing"),
    ({}, Outer, "inner, name is missing"),
    ({"name": "x", "inner": {}, "colour": 1}, Outer,
     "colour is unknown, known are inner, miles, name, shape, teacher"),
    ({"name": "x", "inner": {"weight": "1e-1"}}, Outer, "inner.weight is '1e-1', wanted a number"),
    ({"name": "x", "inner": {"los": {}}}, Outer, "inner.los is unknown, known are loss, weight"),
    ({"name": "x", "inner": {}, "shape": "stairs"}, Outer, "shape is 'stairs', wanted 'step' or 'cycle'"),
    ({"name": "x", "inner": {}, "shape": []}, Outer, "shape is [], wanted 'step' or 'cycle'"),
    ({"top1": "high"}, Split | None, "top1 is 'high', wanted a number"),
    ("x" * 100, int, f"it is '{'x' * 36}..., wanted a whole number"),
    ("a\n b", int, r"it is 'a\n b', wanted a whole number"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "hint"), GOOD, ids=repr)
def test_what_fits(value, hint):
    assert mismatch(value, hint) is None


@pytest.mark.parametrize(("value", "hint", "words"), BAD, ids=[words for *_, words in BAD])
def test_what_does_not_fit_is_named_with_its_place(value, hint, words):
    assert mismatch(value, hint) == words
