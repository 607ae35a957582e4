"""The shipped generator is what its card says, counted again."""

import re
from importlib.resources import files

import pytest
import torch

from normkd_explore.blackbox import noise, shipped_generator, to_pixels
from normkd_explore.data import load_dataset
from normkd_explore.training import Teacher, load_teacher, make_fabric

CARD = (files("normkd_explore") / "assets" / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_the_generator_covers_the_stated_classes():
    generator, dataset = shipped_generator(), load_dataset("glyphs")
    row = next(line for line in CARD.splitlines() if line.startswith("| `glyphs_generator.safetensors`"))
    parameters, covered = (int(number.replace(",", "")) for number in re.findall(r"([\d,]+) \|", row)[-2:])
    assert sum(p.numel() for p in generator.parameters()) == parameters and generator.channels == 32
    with torch.no_grad():
        pictures = to_pixels(generator(noise(2000, generator.classes, 0)))
    teacher = Teacher(load_teacher("resnet20", dataset, None), make_fabric("cpu"))
    found = teacher.evaluate(dataset.normalize(pictures)).argmax(dim=1).unique().numel()
    assert found == pytest.approx(covered, abs=2)
