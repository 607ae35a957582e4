"""Networks that differ in kind: which feature methods can compare them, and what is said where one cannot."""

from __future__ import annotations

import pytest
import torch

from normkd_explore.feature_losses import introduce
from normkd_explore.methods import METHODS, Settings
from normkd_explore.models import create_model
from normkd_explore.training.objective import Objective
from tests.helpers.feature_runs import FEATURE_METHODS, LABELS
from tests.helpers.toy import CLASSES


@pytest.mark.parametrize(
    ("teacher", "student", "without"),
    [
        ("wrn_16_2", "ShuffleV1", ()),
        ("resnet8x4", "ShuffleV2", ()),
        ("vgg8", "MobileNetV2", ("ofd",)),
        ("resnet8", "vgg8", ("at", "nst", "vid", "reviewkd", "ofd")),
    ],
)
def test_unlike_networks_work_or_say_why_not(teacher, student, without):
    """Other widths, strides and numbers of stages: an adapter, pooling, or a message."""
    torch.manual_seed(0)
    models = [create_model(name, CLASSES) for name in (student, teacher)]
    couple = introduce(*models, 32, LABELS)
    images, labels, index = torch.randn(4, 3, 32, 32), LABELS[:4], torch.arange(4)
    (logits_s, features_s), (_, features_t) = (model(images, return_features=True) for model in models)
    for method in FEATURE_METHODS:
        settings = METHODS[method].cifar100
        if method in without:
            with pytest.raises(ValueError, match=r"stages: found|no pre-activations"):
                Objective(method, settings, 1, couple)(logits_s, None, labels, 1, seen(features_s, features_t, index))
            continue
        objective = Objective(method, settings, 1, couple)
        loss = objective(logits_s, None, labels, 1, seen(features_s, features_t, index))
        gradients = torch.autograd.grad(loss.kd, list(models[0].parameters()), retain_graph=True, allow_unused=True)
        assert torch.isfinite(loss.total) and any(g is not None and g.abs().sum() > 0 for g in gradients), method


def seen(features_s, features_t, index_B):
    from normkd_explore.feature_losses import Observation

    return Observation(features_s, features_t, LABELS[index_B], index_B)


def test_messages_before_training():
    with pytest.raises(ValueError, match=r"couple: found None; fitnet compares features.*introduce\("):
        Objective("fitnet", METHODS["fitnet"].cifar100, 1)
    couple = introduce(create_model("resnet8", CLASSES), create_model("resnet8", CLASSES), 12, LABELS)
    for hint in (4.0, -1.0, 1.5):
        with pytest.raises(ValueError, match=rf"hint: found {hint:g}, wanted a whole number from 0 to 3"):
            Objective("fitnet", Settings({"hint": hint}), 1, couple)
    with pytest.raises(ValueError, match="negatives: found 0, wanted a whole number of at least 1"):
        METHODS["crd"].build(negatives=0)
    with pytest.raises(ValueError, match=r"hands out no features.*return_features"):
        introduce(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)), create_model("resnet8", CLASSES), 12, LABELS)
