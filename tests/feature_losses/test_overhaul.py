"""OFD: its partial distance, its margins, the batch norms they come from, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from normkd_explore.feature_losses import OFD, introduce, negative_mean, norms_before_relu
from normkd_explore.feature_losses.overhaul import partial_l2
from normkd_explore.methods import METHODS, settings_for
from normkd_explore.models import create_model, list_models
from tests.helpers.feature_cases import MAPS_S, MAPS_T, WIDTHS, B, made, ofd, rand
from tests.helpers.toy import CLASSES

WITHOUT_MARGINS = ("MobileNetV2", "ShuffleV1", "ShuffleV2")
TEACHERS = [name for name in list_models() if name not in WITHOUT_MARGINS]


def norm_of(betas, gammas) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(len(betas)).double()
    norm.weight.data, norm.bias.data = (torch.tensor(values, dtype=torch.float64) for values in (gammas, betas))
    return norm


def np_pool(x: np.ndarray, size: int) -> np.ndarray:
    step = x.shape[-1] // size
    return x.reshape(*x.shape[:-2], size, step, size, step).mean((-3, -1))


def test_ofd_equals_numpy_place_by_place():
    loss, wanted = made(ofd), 0.0
    for at, (s, t) in enumerate(zip(MAPS_S, MAPS_T, strict=True)):
        size = min(s.shape[-1], t.shape[-1])
        s, t = np_pool(s.numpy(), size), np_pool(t.numpy(), size)
        s = np.einsum("bkhw,ok->bohw", s, loss.connectors[at][0].weight.detach().numpy()[:, :, 0, 0])
        s = (s - s.mean((0, 2, 3), keepdims=True)) / np.sqrt(s.var((0, 2, 3), keepdims=True) + 1e-5)
        margin = -0.5 - rand(WIDTHS[1][at], seed=12).abs().numpy()
        for place in np.ndindex(*s.shape):
            target = max(t[place], margin[place[1]])
            off = s[place] <= target <= 0
            wanted += 0.0 if off else (s[place] - target) ** 2 / B / (4, 2, 1)[at]
    assert loss(MAPS_S, MAPS_T).item() == pytest.approx(wanted, rel=1e-9)


def test_a_student_equal_to_the_clipped_teacher_costs_nothing():
    loss = OFD([3, 3], [torch.tensor([-0.1, -0.4, -2.0])] * 2).double().eval()
    maps_t = [rand(2, 3, 4, 4, seed=seed) for seed in (1, 2)]
    margin = torch.tensor([-0.1, -0.4, -2.0], dtype=torch.float64)[:, None, None]
    for convolution, norm in loss.connectors:
        nn.init.dirac_(convolution.weight)
        norm.eps = 0.0
    clipped = [torch.maximum(map_t, margin) for map_t in maps_t]
    assert loss(clipped, maps_t).item() == pytest.approx(0, abs=1e-12)
    assert loss([x - 5 * (x <= 0) for x in clipped], maps_t).item() == pytest.approx(0, abs=1e-12)
    shifted = [clipped[0], clipped[1] + 1]
    assert loss(shifted, maps_t).item() == pytest.approx(48.0)  # 3 · 4 · 4 places, each 1 away
    assert loss([clipped[0] + 1, clipped[1]], maps_t).item() == pytest.approx(24.0)  # the earlier stage is halved


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(*[st.floats(-4, 4)] * 2), min_size=1, max_size=12),
    st.integers(1, 3),
)
def test_units_that_are_off_in_both_have_neither_loss_nor_gradient(pairs, batch):
    s, t = (torch.tensor(side, dtype=torch.float64).expand(batch, 1, 1, -1) for side in zip(*pairs, strict=True))
    s = s.clone().requires_grad_()
    loss = partial_l2(s, t)
    loss.backward()
    off = (s <= t) & (t <= 0)
    assert (s.grad[off] == 0).all()
    torch.testing.assert_close(s.grad[~off], (2 * (s - t) / batch)[~off].detach())
    assert loss.item() == pytest.approx(sum((a - b) ** 2 for a, b in pairs if not a <= b <= 0), rel=1e-9, abs=1e-12)


def test_repeating_the_batch_changes_nothing():
    loss = made(ofd).eval()
    twice = [[torch.cat([x, x]) for x in maps] for maps in (MAPS_S, MAPS_T)]
    torch.testing.assert_close(loss(*twice), loss(MAPS_S, MAPS_T))


def integrated(beta: float, gamma: float) -> float:
    """E[x | x < 0] by the trapezium rule, weights relative to the largest, so that tails do not underflow."""
    sigma = abs(gamma)
    top = min(beta, 0.0)
    x = np.linspace(top - 14 * sigma, 0.0, 2_000_001)
    log_weight = -((x - beta) ** 2 - (top - beta) ** 2) / (2 * sigma**2)
    weight = np.exp(log_weight)
    weight[[0, -1]] /= 2
    return float((x * weight).sum() / weight.sum())


@pytest.mark.parametrize("gamma", [0.01, 1.0, -2.5])
@pytest.mark.parametrize("share", [-30.0, -4.0, -1.0, 0.0, 0.7, 3.0, 6.0, 20.0])
def test_the_margin_is_the_integral(share, gamma):
    beta = share * abs(gamma)
    margin = negative_mean(norm_of([beta], [gamma]), rare=0.0).item()
    assert margin == pytest.approx(integrated(beta, gamma), rel=1e-6)
    assert margin < 0


def test_the_margin_is_the_mean_of_draws():
    beta, gamma = (0.3, -0.8, 1.2), (1.0, 0.5, -0.9)
    draws = np.random.default_rng(0).normal(beta, np.abs(gamma), (1_000_000, 3))
    wanted = [column[column < 0].mean() for column in draws.T]
    assert negative_mean(norm_of(beta, gamma)).numpy() == pytest.approx(wanted, abs=5e-3)


def test_rare_channels_are_clipped_at_three_deviations_as_in_the_authors_code():
    limit = 3.0902323  # P(x < 0) = 0.001
    channels = [(limit - 1e-3, 1.0), (limit + 1e-3, 1.0), (2 * limit + 2e-3, -2.0)]
    norm = norm_of(*zip(*channels, strict=True))
    exact, theirs = negative_mean(norm, rare=0.0), negative_mean(norm)
    assert theirs[0] == exact[0] and theirs[1:].tolist() == [-3.0, -6.0]
    assert exact.tolist() == pytest.approx([integrated(*channel) for channel in channels], rel=1e-6)


def test_margins_of_channels_without_spread_or_far_off_are_finite():
    norm = norm_of([2.0, 0.0, -2.0, 1e6, -1e6], [0.0, 0.0, 0.0, 1e-3, 1e-3])
    assert negative_mean(norm, rare=0.0).tolist() == pytest.approx([0, 0, -2, 0, -1e6], abs=1e-9)
    assert negative_mean(norm.float()).dtype == torch.float32
    assert (negative_mean(norm) <= 0).all()
    far = norm_of(np.geomspace(1e-2, 1e6, 1000).tolist(), [1e-3] * 1000)
    assert (negative_mean(far, rare=0.0) <= 0).all()  # a difference of two nearly equal numbers
    with pytest.raises(ValueError, match=r"rare is -0.1"):
        negative_mean(norm, rare=-0.1)


@pytest.mark.parametrize("name", TEACHERS)
def test_the_batch_norms_make_the_pre_activations(name):
    """In plain and in wide networks their outputs are the maps; in residual ones a shortcut is added."""
    torch.manual_seed(0)
    model, outputs = create_model(name, CLASSES).eval(), {}
    norms, names = norms_before_relu(model), {id(module): key for key, module in model.named_modules()}
    for at, norm in enumerate(norms):
        norm.register_forward_hook(lambda module, inputs, output, at=at: outputs.update({at: output}))
    images = rand(1, 3, 32, 32, dtype=torch.float32)
    with torch.no_grad():
        _, features = model(images, return_features=True)
        assert len(outputs) == len(norms) == len(features.pre_activation)
        for at, pre in enumerate(features.pre_activation):
            _, whole = model(images, return_features=True)
            shortcut = whole.pre_activation[at] - outputs[at]
            if at == 0 or not name.lower().startswith("resnet"):
                assert not shortcut.any()
                continue
            assert names[id(norms[at])].endswith((".bn2", ".bn3")) and shortcut.any()
            norms[at].weight.zero_()  # without the branch the shortcut is left
            _, without = model(images, return_features=True)
            torch.testing.assert_close(without.pre_activation[at], shortcut, rtol=0, atol=1e-5 * pre.abs().max().item())
            norms[at].weight.fill_(1.0)


@pytest.mark.parametrize(
    ("teacher", "student", "message"),
    [
        ("resnet8", "MobileNetV2", r"student: found MobileNetV2, which hands out no pre-activations.*reviewkd"),
        ("MobileNetV2", "vgg8", r"teacher: found MobileNetV2, which hands out no pre-activations"),
        ("ShuffleV1", "resnet8", r"teacher: found ShuffleNetV1 without `norms_before_relu`.*student can be"),
        ("ShuffleV2", "resnet8", r"teacher: found ShuffleNetV2 without `norms_before_relu`"),
        ("vgg8", "resnet8", r"stages: found 3 of the student and 4 of the teacher; OFD compares them one by one"),
    ],
)
def test_networks_that_ofd_cannot_use_are_named(teacher, student, message):
    couple = introduce(*(create_model(name, CLASSES) for name in (student, teacher)), 32, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=message):
        METHODS["ofd"].build().connect(couple)


def test_the_margins_are_those_of_the_teacher():
    torch.manual_seed(0)
    student, teacher = create_model("ShuffleV1", CLASSES), create_model("wrn_16_2", CLASSES)
    for norm in norms_before_relu(teacher):
        nn.init.normal_(norm.bias)
    method = METHODS["ofd"].build(rare=0.0)
    method.connect(introduce(student, teacher, 32, torch.tensor([0, 1])))
    following = (teacher.block2.layer[0].bn1, teacher.block3.layer[0].bn1, teacher.bn1)
    for at, norm in enumerate(following):
        pdf = torch.exp(-norm.bias.square() / 2) / math.sqrt(2 * math.pi)  # gamma is 1
        wanted = norm.bias - pdf / (0.5 * torch.erfc(norm.bias / math.sqrt(2)))
        found = getattr(method.loss, f"margin_{at}")[:, 0, 0]
        torch.testing.assert_close(found, wanted.detach(), rtol=1e-4, atol=1e-4)
    shapes = [tuple(connector[0].weight.shape[:2]) for connector in method.loss.connectors]
    assert shapes == [(32, 240), (64, 480), (128, 960)]


def test_weights_are_marked_with_their_source():
    verified = settings_for("ofd", "cifar100", "resnet32x4", "resnet8x4")
    assert (verified.kd_weight, verified.ce_weight, verified.published) == (1e-3, 1.0, True)
    other = settings_for("ofd", "cifar100", "vgg13", "vgg8")
    assert (other.kd_weight, other.published) == (1e-3, False) and "clovaai" in other.source
    for pair in (("resnet34", "resnet18"), ("resnet50", "mobilenetv1")):
        large = settings_for("ofd", "imagenet", *pair)
        assert (large.kd_weight, large.published) == (1e-4, False) and "256 and 128" in large.source
