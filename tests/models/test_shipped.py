"""The shipped models are what their card says, measured again from scratch."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from normkd_explore.data import load_dataset, make_batches
from normkd_explore.training import evaluate, get_preset, load_example_student, load_teacher

CARD = (files("normkd_explore") / "assets" / "MODEL_CARD.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def glyphs():
    return load_dataset("glyphs")


def stated(file: str) -> float:
    """The accuracy in per cent that the card states for a file."""
    row = next(line for line in CARD.splitlines() if line.startswith(f"| `{file}`"))
    return float(re.findall(r"(\d+\.\d+) %", row)[-1])


@pytest.mark.parametrize("file", ["glyphs_resnet20.safetensors", "glyphs_resnet8_ce.safetensors"])
def test_accuracy_is_the_stated_one(glyphs, file):
    """To 0.15 points, three of the 2,000 images: another FreeType may draw a few pixels otherwise."""
    model = (
        load_teacher("resnet20", glyphs, None)
        if "resnet20" in file
        else load_example_student(get_preset("glyphs/resnet20-resnet8"), glyphs)
    )
    measured = evaluate(model, make_batches(glyphs, "test", 250, augment=False).epoch(0))
    assert measured["n"] == 2000
    assert 100 * measured["top1"] == pytest.approx(stated(file), abs=0.15)
