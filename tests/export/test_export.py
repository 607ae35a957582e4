"""A student as one file: raw pictures in, logits out, with names inside; nothing is kept that is not the student."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from normkd_explore.analysis import model_logits
from normkd_explore.export import FORMATS, Deployed, export_model
from normkd_explore.models import adapt, create_model
from tests.helpers.command import normkd
from tests.helpers.toy import CLASSES, toy_dataset

DATA = replace(toy_dataset(), class_names=("ant", "a bee", "α", "d", "e"))


def network() -> nn.Module:
    """Random weights, with BatchNorms that are not the identity."""
    torch.manual_seed(3)
    model = create_model("resnet8", CLASSES)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 2.0)
            nn.init.normal_(norm.bias)
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2.0)
    return model.train()


@pytest.fixture(scope="module", params=FORMATS)
def made(request, tmp_path_factory):
    """One export in each format, and the network that it is of."""
    model = network()
    return export_model(model, DATA, tmp_path_factory.mktemp("made") / f"student.{request.param}", request.param), model


def test_the_file_gives_the_networks_logits_for_batches_of_any_size(made):
    """The network in float64 on the same pixels, normalised by the data set and not by the file."""
    found, model = made
    run = FORMATS[found.format].open(found.path)
    for images_NHWC in (DATA.train.images_NHWC[:1], DATA.train.images_NHWC[1:8], DATA.test.images_NHWC):
        wanted_NC = model_logits(model, DATA, images_NHWC)
        np.testing.assert_allclose(run(images_NHWC).numpy(), wanted_NC.numpy(), rtol=1e-4, atol=1e-4)
    assert found.difference < 1e-4 and found.images == len(DATA.test) and found.top1 == found.top1_before
    assert model.training and any(isinstance(part, nn.BatchNorm2d) for part in model.modules())  # left as it was


def test_the_snippet_names_the_class_of_a_picture(made):
    """In a process of its own, which has never heard of this package, as its user would run it."""
    found, model = made
    folder, picture = found.path.parent, DATA.test.images_NHWC[3]
    Image.fromarray(picture.numpy()).save(folder / "image.png")
    assert len(found.snippet.splitlines()) == 5 and "normkd" not in found.snippet
    command = [sys.executable, "-c", found.snippet]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == DATA.class_names[int(model_logits(model, DATA, picture[None]).argmax())]


def test_normalisation_and_folding_are_inside_of_what_is_exported():
    student = Deployed(network(), DATA.mean, DATA.std)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in student.modules())
    white = torch.full((1, 12, 12, 3), 255, dtype=torch.uint8)
    np.testing.assert_allclose(student(white)[0], model_logits(network(), DATA, white)[0], rtol=1e-4, atol=1e-4)


class Own(nn.Module):
    """A network of a user, which returns a mapping."""

    def __init__(self, branch: bool = False) -> None:
        super().__init__()
        self.branch, self.head = branch, nn.Linear(3, CLASSES)

    def forward(self, images):
        means = images.mean((2, 3))
        if self.branch and means.sum() > 0:
            means = 2 * means
        return {"logits": self.head(means)}


def test_a_network_of_ones_own_that_returns_a_mapping(tmp_path):
    found = export_model(adapt(Own()), DATA, tmp_path / "own.pt2", "pt2", images=7)
    assert found.images == 7 and found.difference < 1e-5


def test_a_network_that_branches_on_values_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Own cannot be traced for an export"):
        export_model(adapt(Own(branch=True)), DATA, tmp_path / "own.pt2", "pt2")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", [lambda z: z + 0.5 * z.abs().max(), lambda z: z * float("nan"), lambda z: z[:, :2]])
def test_a_file_that_is_not_the_student_is_not_kept(tmp_path, monkeypatch, damage):
    """The normalisation forgotten, for example."""
    opened = FORMATS["pt2"].open
    wrong = replace(FORMATS["pt2"], open=lambda path: lambda images: damage(opened(path)(images)))
    monkeypatch.setitem(FORMATS, "pt2", wrong)
    with pytest.raises(ValueError, match="not kept"):
        export_model(adapt(Own()), DATA, tmp_path / "student.pt2", "pt2")
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_over(tmp_path):
    place = tmp_path / "student.pt2"
    place.write_text("mine")
    with pytest.raises(FileExistsError, match=r"student.pt2 exists: remove it.*--out"):
        export_model(network(), DATA, place, "pt2")
    assert place.read_text() == "mine"


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr("normkd_explore.export.formats.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs onnx, onnxruntime, onnxscript.*'normkd-explore\[export\]'"):
        FORMATS["onnx"].require()
    FORMATS["pt2"].require()


def test_the_command_says_what_it_compared(tmp_path, monkeypatch):
    monkeypatch.setattr("normkd_explore.export.export.open_trained", lambda run, *rest: ("own", adapt(Own()), DATA))
    said = normkd("export", tmp_path, "--format", "pt2")
    assert (tmp_path / "student.pt2").exists() and "uint8 images (B, 12, 12, 3)" in said
    assert "on 30 test images: top-1" in said and "largest difference of a logit" in said
    assert f'torch.export.load("{tmp_path / "student.pt2"}"' in said
    assert '"difference"' in normkd("export", tmp_path, "--format", "pt2", "--out", tmp_path / "b.pt2", "--json")
