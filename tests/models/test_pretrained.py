"""Weights of torchvision: downloaded, or the way out is named."""

from urllib.error import URLError

import pytest
import torch
import torchvision

from normkd_explore.models import CheckpointError, pretrained_imagenet
from tests.helpers.weights import assert_same

DOWNLOAD = "torchvision.models._api.load_state_dict_from_url"


def test_pretrained_weights_are_torchvisions(monkeypatch):
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18()
    asked = {}

    def download(url, **options):
        asked.update(options, url=url)
        return theirs.state_dict()

    monkeypatch.setattr(DOWNLOAD, download)
    ours = pretrained_imagenet("resnet18")
    assert_same(ours.state_dict(), theirs.state_dict())
    assert asked["weights_only"] is asked["check_hash"] is True
    assert asked["url"].endswith("resnet18-f37072fd.pth")


def test_no_network_names_the_way_out(monkeypatch):
    def download(url, **options):
        raise URLError("Name or service not known")

    monkeypatch.setattr(DOWNLOAD, download)
    with pytest.raises(ConnectionError, match=r"--teacher-weights FILE.*resnet50-0676ba61\.pth"):
        pretrained_imagenet("resnet50")


def test_a_damaged_download_is_to_be_deleted(monkeypatch):
    def download(url, **options):
        raise RuntimeError("invalid hash value")

    monkeypatch.setattr(DOWNLOAD, download)
    with pytest.raises(CheckpointError, match=r"invalid hash value.*Delete that file"):
        pretrained_imagenet("resnet34")


@pytest.mark.parametrize("name", ["mobilenetv1", "ResNet50", "resnet20", "timm:resnet18"])
def test_names_without_imagenet_weights_are_explained(name):
    with pytest.raises(ValueError, match=r"weights for resnet18, resnet34, resnet50.*--teacher-weights FILE"):
        pretrained_imagenet(name)
