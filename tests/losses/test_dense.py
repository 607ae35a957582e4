"""Losses of every pixel: those of the pixels as a list of samples, with an ignore index, and refusals that help."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from normkd_explore import losses as L
from normkd_explore.divergence import GramMatrices
from normkd_explore.temperature import Constant
from tests.helpers.reference import random_arrays

LOSSES = [L.CE(), L.KD(), L.NormKD(), L.LSKD(), L.DKD(), L.NormDKD(), L.TTM(0.3), L.JSD(), L.RLD(), L.DIST(), L.WKD()]
B, C, H, W = 2, 6, 4, 5


def maps() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[tuple[int, int, int]]]:
    """Logits (B, C, H, W), labels (B, H, W) with some 255, and the places that count."""
    z_s, z_t, y = map(torch.from_numpy, random_arrays(B * H * W, C, seed=4))
    s, t = (z.view(B, H, W, C).permute(0, 3, 1, 2).contiguous() for z in (z_s, z_t))
    labels = y.view(B, H, W).clone()
    labels[torch.from_numpy(np.random.default_rng(1).random((B, H, W)) < 0.3)] = 255
    kept = [place for place in np.ndindex(B, H, W) if labels[place] != 255]
    return s, t, labels, kept


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_it_is_the_loss_of_the_pixels_that_count_one_by_one(loss):
    """The pixels are picked out in a loop, as a list of samples."""
    s, t, labels, kept = maps()
    s.requires_grad_()
    rows_s, rows_t = (torch.stack([z[b, :, h, w] for b, h, w in kept]) for z in (s, t))
    wanted = copy.deepcopy(loss)(rows_s, rows_t, torch.stack([labels[place] for place in kept]))
    found = L.per_pixel(loss, ignore_index=255)(s, t, labels)
    torch.testing.assert_close(found, wanted)
    slope, wanted_slope = (torch.autograd.grad(value, s)[0] for value in (found, wanted))
    torch.testing.assert_close(slope, wanted_slope)
    assert (slope.movedim(1, -1)[labels == 255] == 0).all() and slope.abs().max() > 0


def test_cross_entropy_is_torchs_own():
    s, _, labels, _ = maps()
    torch.testing.assert_close(L.per_pixel(L.CE(), 255)(s, None, labels), F.cross_entropy(s, labels, ignore_index=255))


def test_the_map_of_losses_is_where_the_pixels_are():
    s, t, labels, kept = maps()
    found = L.per_pixel(L.NormKD(), 255).per_sample(s, t, labels)
    assert found.shape == labels.shape and (found[labels == 255] == 0).all()
    for b, h, w in kept[:5]:
        assert found[b, h, w].item() == pytest.approx(L.NormKD()(s[b : b + 1, :, h, w], t[b : b + 1, :, h, w]).item())


def test_without_labels_all_pixels_count_and_without_pixels_it_is_0():
    s, t, labels, _ = maps()
    flat_s, flat_t = (z.permute(0, 2, 3, 1).reshape(-1, C) for z in (s, t))
    torch.testing.assert_close(L.per_pixel(L.KD())(s, t), L.KD()(flat_s, flat_t))
    assert L.per_pixel(L.KD(), 255)(s, t, torch.full_like(labels, 255)) == 0


def test_any_number_of_axes_of_places():
    s, t, labels, _ = maps()
    whole = L.per_pixel(L.NormKD(), 255)(s, t, labels)
    for shape in ((H * W,), (2, 2, W)):
        parts = (s.reshape(B, C, *shape), t.reshape(B, C, *shape), labels.reshape(B, *shape))
        torch.testing.assert_close(L.per_pixel(L.NormKD(), 255)(*parts), whole)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_under_autocast_with_a_loss_scale(dtype):
    s, t, labels, _ = maps()
    half_s, half_t = s.to(dtype).requires_grad_(), t.to(dtype)
    with torch.autocast("cpu", dtype):
        found = L.per_pixel(L.NormKD(), 255)(half_s, half_t, labels)
    (1024 * found).backward()
    exact_s = half_s.detach().double().requires_grad_()
    wanted = L.per_pixel(L.NormKD(), 255)(exact_s, half_t.double(), labels)
    wanted.backward()
    assert found.dtype == torch.float32 and found.item() == pytest.approx(wanted.item(), rel=1e-5)
    allowed = torch.finfo(dtype).eps * exact_s.grad.abs().max()
    assert (half_s.grad.double() / 1024 - exact_s.grad).abs().max() < allowed


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s, t, y: L.per_pixel(L.KD())(s, t[..., :3], y), "wanted the same places: F.interpolate"),
        (lambda s, t, y: L.per_pixel(L.KD())(s, t, y[:, :2]), r"wanted \(2, 4, 5\): one class index for each pixel"),
        (lambda s, t, y: L.per_pixel(L.KD())(s[0, 0, 0], t, y), "wanted a tensor"),
        (lambda s, t, y: L.per_pixel(L.DKD(), 255)(s, t, y + 1), "target - 1|0 to 5"),
        (lambda s, t, y: L.per_pixel(L.NormKD())(s[:, :2], t[:, :2], y), r"2 classes, wanted at least 3.*KD\("),
        (lambda s, t, y: L.per_pixel(L.KD())(s[:, :1], t[:, :1], y), r"two logits \[0, z\] and use KD"),
        (lambda s, t, y: L.per_pixel(L.MLKD()), "compares every row with every other.*square of their number"),
        (lambda s, t, y: L.per_pixel(L.DistillationLoss(Constant(1.0), GramMatrices())), "wanted a loss of each row"),
    ],
)
def test_refusals_say_what_to_do(call, words):
    s, t, labels, _ = maps()
    with pytest.raises(ValueError, match=f"(?i){words}"):
        call(s, t, labels)


# Several classes at once


def pairs(z: torch.Tensor) -> torch.Tensor:
    return torch.stack([torch.zeros_like(z), z], -1).flatten(0, -2)


def test_a_multi_label_target_is_refused_and_what_it_names_is_right():
    """What the message says to call is the relative entropy of the sigmoids, class by class, in numpy."""
    s, t, _ = map(torch.from_numpy, random_arrays(5, 4, seed=2))
    marks = torch.tensor([[1, 0, 1, 1], [0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]])
    for given in (marks, marks.float(), marks.bool()):
        with pytest.raises(ValueError, match=r"3 of 4 classes.*multi-label.*KD\(4.0\)\(pairs\(logits_student\)"):
            L.NormKD()(s, t, given)
    p_s, p_t = (1 / (1 + np.exp(-z.numpy() / 4)) for z in (s, t))
    wanted = 16 * (p_t * np.log(p_t / p_s) + (1 - p_t) * np.log((1 - p_t) / (1 - p_s))).mean()
    assert L.KD(4.0)(pairs(s), pairs(t)).item() == pytest.approx(wanted, rel=1e-9)


def test_soft_labels_are_no_multi_label_task():
    """Mixup's and smoothed labels sum to 1; a loss that needs no labels takes them as before."""
    s, t, _ = map(torch.from_numpy, random_arrays(5, 4, seed=2))
    soft = torch.softmax(torch.randn(5, 4), 1)
    assert L.KD()(s, t, soft) == L.KD()(s, t, soft.half()) == L.KD()(s, t)
