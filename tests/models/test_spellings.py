"""Published CIFAR ResNets under other names of the same arithmetic: other words, and shortcuts without parameters."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normkd_explore.models import CheckpointError, create_model, guess_model, load_checkpoint


class Block(nn.Module):
    """Written from He et al. 2015, section 3.3 and 4.2, with the names of the best known copy."""

    def __init__(self, width_in, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.more = stride, width - width_in

    def forward(self, x):
        branch = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        picked = x[:, :, :: self.stride, :: self.stride]
        return F.relu(branch + F.pad(picked, (0, 0, 0, 0, self.more // 2, self.more // 2)))


class OptionA(nn.Module):
    def __init__(self, blocks, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        widths = [16, 16, 32, 64]
        for stage in (1, 2, 3):
            first = Block(widths[stage - 1], widths[stage], 1 if stage == 1 else 2)
            rest = (Block(widths[stage], widths[stage], 1) for _ in range(blocks - 1))
            setattr(self, f"layer{stage}", nn.Sequential(first, *rest))
        self.linear = nn.Linear(64, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean(dim=(2, 3)))


@pytest.fixture
def published():
    torch.manual_seed(3)
    model = OptionA(3, 10)
    with torch.no_grad():
        for _ in range(3):
            model.train()(torch.randn(16, 3, 32, 32) + 0.3)
    return model.eval()


@torch.no_grad()
@pytest.mark.parametrize("prefix", ["", "module."])
def test_shortcuts_without_parameters_compute_the_same(tmp_path, published, prefix):
    state = {prefix + key: value for key, value in published.state_dict().items()}
    torch.save({"state_dict": state, "best_prec1": 91.7}, tmp_path / "resnet20.th")
    with pytest.warns(UserWarning, match=r"resnet20.th has no tensors for the shortcuts.*option A.*In evaluation"):
        loaded = load_checkpoint("resnet20", tmp_path / "resnet20.th")
    images = torch.randn(8, 3, 32, 32)
    torch.testing.assert_close(loaded.eval()(images), published(images), atol=2e-6, rtol=1e-5)
    changed = loaded.train()(images)
    assert not torch.allclose(changed, published(images), atol=1e-2)


@torch.no_grad()
def test_the_arithmetic_tells_a_wrong_place_of_the_zeros(tmp_path, published, monkeypatch):
    """The comparison above would notice it."""
    torch.save(published.state_dict(), tmp_path / "f")
    with warnings.catch_warnings(action="ignore"):
        loaded = load_checkpoint("resnet20", tmp_path / "f").eval()
    weight = loaded.layer2[0].downsample[0].weight
    weight.copy_(weight.roll(8, dims=0))
    images = torch.randn(8, 3, 32, 32)
    assert (loaded(images) - published(images)).abs().max() > 1e-3


def respelled(state, words):
    return {".".join(words.get(word, word) for word in key.split(".")): value for key, value in state.items()}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet8", {"fc": "linear", "downsample": "shortcut"}),
        ("resnet32", {"fc": "linear"}),
        ("resnet8x4", {"downsample": "shortcut"}),
        ("ResNet18", {"linear": "fc", "shortcut": "downsample"}),
        ("ShuffleV2", {"linear": "fc"}),
        ("resnet18", {"fc": "linear", "downsample": "shortcut"}),
    ],
)
def test_other_words_for_classifier_and_shortcuts_load(tmp_path, name, words):
    torch.manual_seed(1)
    model = create_model(name, 7)
    state = respelled(model.state_dict(), words)
    torch.save({"net": state}, tmp_path / "f")
    loaded = load_checkpoint(name, tmp_path / "f").state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in model.state_dict().items())
    assert guess_model(state)[1] == 7


def test_a_word_of_another_network_is_still_a_difference(tmp_path):
    state = respelled(create_model("resnet8", 7).state_dict(), {"fc": "head"})
    torch.save(state, tmp_path / "f")
    with pytest.raises(CheckpointError, match=r"2 missing from the file: fc.weight, fc.bias"):
        load_checkpoint("resnet8", tmp_path / "f")


def test_some_missing_shortcuts_are_a_difference(tmp_path):
    state = create_model("resnet8", 7).state_dict()
    for key in [key for key in state if key.startswith("layer2.0.downsample")]:
        del state[key]
    torch.save(state, tmp_path / "f")
    with pytest.raises(CheckpointError, match=r"missing from the file: layer2\.0\.downsample\.0\.weight"):
        load_checkpoint("resnet8", tmp_path / "f")


def test_a_wrong_file_without_shortcuts_is_not_called_option_a(tmp_path, published):
    torch.save(published.state_dict(), tmp_path / "f")
    with pytest.raises(CheckpointError, match="do not fit resnet32"):
        load_checkpoint("resnet32", tmp_path / "f")
