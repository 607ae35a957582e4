"""Models by name: described without being built, and misspelt names answered."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from normkd_explore.models import create_model, describe_model
from tests.helpers.networks import images


def test_describing_draws_no_random_numbers():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    describe_model("resnet8")
    assert torch.equal(torch.rand(3), expected)


def test_cost_grows_with_the_area():
    small, large = describe_model("resnet20", 10, 32), describe_model("resnet20", 10, 64)
    head = 64 * 10
    assert large.macs - head == 4 * (small.macs - head)


@pytest.mark.parametrize(
    ("name", "hint"), [("Resnet20", "resnet20"), ("resnet_20", "resnet20"), ("wrn40_2", "wrn_40_2"), ("VGG8", "vgg8")]
)
def test_unknown_names_bring_similar_ones(name, hint):
    with pytest.raises(ValueError, match=rf"unknown model name '{name}'.*{hint}.*list_models\(\)"):
        create_model(name)


def test_names_that_differ_in_case_only_are_both_offered():
    with pytest.raises(ValueError, match="ResNet50, resnet50"):
        create_model("RESNET50")


@pytest.mark.parametrize("name", ["", "qqqqqq", None, 7])
def test_hopeless_names_still_say_where_to_look(name):
    with pytest.raises(ValueError, match=r"list_models\(\).*timm:NAME"):
        create_model(name)


@pytest.mark.parametrize("num_classes", [True, 10.0, "10", None])
def test_num_classes_must_be_a_whole_number(num_classes):
    with pytest.raises(TypeError, match="num_classes must be a whole number such as 100"):
        create_model("resnet8", num_classes)


@pytest.mark.parametrize("num_classes", [1, 0, -5])
def test_num_classes_must_be_at_least_two(num_classes):
    with pytest.raises(ValueError, match=f"num_classes is {num_classes}, but a softmax needs at least 2"):
        create_model("resnet8", num_classes)


def test_numpy_integers_count_as_whole_numbers():
    assert create_model("resnet8", np.int64(6)).fc.out_features == 6


def test_a_timm_name_without_timm_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModuleNotFoundError, match="pip install timm"):
        create_model("timm:resnet18")


def test_timm_networks_keep_their_names_and_give_features():
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    theirs = timm.create_model("resnet10t", num_classes=5).eval()
    torch.manual_seed(0)
    ours = create_model("timm:resnet10t", 5).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    with torch.no_grad():
        logits_BC, features = ours(images(side=64), return_features=True)
        assert torch.equal(ours(images(side=64)), theirs(images(side=64)))
        torch.testing.assert_close(logits_BC, theirs(images(side=64)))
    assert [stage.shape[1] for stage in features.stages] == [64, 64, 128, 256, 512]
    assert (features.pooled.shape, features.pre_activation) == ((2, 512), None)


def test_unknown_timm_names_bring_similar_ones():
    pytest.importorskip("timm")
    with pytest.raises(ValueError, match=r"timm knows no model 'resnet188'.*timm:resnet18"):
        create_model("timm:resnet188")


def test_importing_and_building_cifar_networks_leaves_slow_libraries_alone():
    slow = ("torchvision", "torch._dynamo", "timm", "matplotlib", "plotly", "pandas", "IPython")
    program = (
        "import sys; from normkd_explore.models import create_model; create_model('resnet8');"
        f"print([name for name in {slow} if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
