"""Feature losses against finite differences, and the identities they obey."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from normkd_explore.feature_losses import AT, CRD, NST, PKT, RKD, SP, VID, FitNet
from normkd_explore.feature_losses.contrastive import Strangers
from tests.helpers.feature_cases import (
    CASES,
    INDEX,
    LABELS,
    MAPS_S,
    MAPS_T,
    POOLED,
    as_list,
    called,
    cases,
    crd,
    made,
    rand,
)


@cases
def test_gradients_are_finite_differences(name):
    build, student, teacher, rest = CASES[name]
    loss, inputs = made(build), [x.clone().requires_grad_() for x in as_list(student)]
    called(loss, as_list(student), as_list(teacher), rest, student)  # CRD: the constant Z is that of the first batch
    names, parameters = zip(*loss.named_parameters(), strict=True) if list(loss.parameters()) else ((), ())

    def value(*tensors):
        fresh = copy.deepcopy(loss)  # banks and running statistics as they were
        features, values = list(tensors[: len(inputs)]), dict(zip(names, tensors[len(inputs) :], strict=True))
        torch.manual_seed(11)
        arguments = (features, as_list(teacher)) if isinstance(student, tuple) else (features[0], teacher)
        return torch.func.functional_call(fresh, values, (*arguments, *rest))

    copies = [parameter.detach().clone().requires_grad_() for parameter in parameters]
    assert torch.autograd.gradcheck(value, (*inputs, *copies), eps=1e-6, atol=1e-6, rtol=1e-4, fast_mode=True)


@cases
def test_only_the_student_and_the_adapters_learn(name):
    build, student, teacher, rest = CASES[name]
    loss = made(build)
    sides = [[x.clone().requires_grad_() for x in as_list(side)] for side in (student, teacher)]
    called(loss, *sides, rest, student).backward()
    assert all(x.grad is not None and x.grad.abs().sum() > 0 for x in sides[0])
    assert all(x.grad is None for x in sides[1])
    # A bias before a batch norm has no effect: its gradient is rounding.
    assert all(parameter.grad is not None for parameter in loss.parameters())


def rotation(size: int, seed: int = 3) -> torch.Tensor:
    return torch.linalg.qr(rand(size, size, seed=seed))[0]


def test_at_ignores_the_scale_of_either_network():
    scaled = [factor * x for factor, x in zip((0.01, 3.0, 70.0), MAPS_S, strict=True)]
    torch.testing.assert_close(AT()(scaled, [5 * x for x in MAPS_T]), AT()(MAPS_S, MAPS_T))


def test_at_ignores_the_order_of_channels_and_zero_means_equal_attention():
    shuffled = [x.flip(1) for x in MAPS_S]
    torch.testing.assert_close(AT()(shuffled, MAPS_T), AT()(MAPS_S, MAPS_T))
    assert AT()([torch.cat([x, -x], 1) for x in MAPS_S], MAPS_S).item() == pytest.approx(0, abs=1e-15)


def test_nst_sees_the_set_of_channels_alone():
    changed = [x.flip(1) * torch.linspace(0.5, 3, x.shape[1], dtype=x.dtype)[:, None, None] for x in MAPS_S]
    torch.testing.assert_close(NST()(changed, MAPS_T), NST()(MAPS_S, MAPS_T))
    assert NST()(changed, MAPS_S).item() == pytest.approx(0, abs=1e-12) and NST()(MAPS_S, MAPS_T) > 0


def test_relations_ignore_rotation():
    s, t = POOLED
    torch.testing.assert_close(RKD()(s @ rotation(5), t @ rotation(7)), RKD()(s, t))
    torch.testing.assert_close(PKT()(s @ rotation(5), t @ rotation(7)), PKT()(s, t))
    turned = (MAPS_S[0].flatten(1) @ rotation(72)).view_as(MAPS_S[0])
    torch.testing.assert_close(SP()(turned, MAPS_T[0]), SP()(MAPS_S[0], MAPS_T[0]))


def test_relations_ignore_scale_and_rkd_ignores_a_shift():
    s, t = POOLED
    torch.testing.assert_close(RKD()(7 * s + rand(5), 0.1 * t - 3), RKD()(s, t))
    each = torch.tensor([0.1, 2.0, 30.0], dtype=torch.float64)[:, None]
    torch.testing.assert_close(PKT()(each * s, t / each), PKT()(s, t))
    torch.testing.assert_close(SP()(3 * MAPS_S[0], 9 * MAPS_T[0]), SP()(MAPS_S[0], MAPS_T[0]))
    assert not torch.allclose(SP()(each[..., None, None] * MAPS_S[0], MAPS_T[0]), SP()(MAPS_S[0], MAPS_T[0]))


def test_relations_are_zero_exactly_for_equal_relations_and_for_a_batch_of_one():
    s, _ = POOLED
    assert RKD()(s, 2 * s @ rotation(5)).item() == pytest.approx(0, abs=1e-12)
    assert PKT()(s, s).item() == 0 and SP()(MAPS_S[0], MAPS_S[0]).item() == 0
    for loss, pair in ((RKD(), POOLED), (PKT(), POOLED), (SP(), (MAPS_S[0], MAPS_T[0]))):
        assert loss(*(side[:1] for side in pair)).item() == pytest.approx(0, abs=1e-15)


def test_relations_do_not_depend_on_the_order_of_the_batch():
    order = torch.tensor([2, 0, 1])
    for loss, (s, t) in ((RKD(), POOLED), (PKT(), POOLED), (SP(), (MAPS_S[0], MAPS_T[0]))):
        torch.testing.assert_close(loss(s[order], t[order]), loss(s, t))


def test_fitnet_is_zero_for_equal_maps_and_the_identity():
    loss = FitNet(nn.Identity())
    assert loss(MAPS_S[0], MAPS_S[0]).item() == 0
    torch.testing.assert_close(loss(MAPS_S[0] + 2, MAPS_S[0]), torch.tensor(4.0, dtype=torch.float64))


def test_vid_is_least_where_the_variance_is_the_squared_error():
    loss = made(lambda: VID([1], [1]))
    for convolution in loss.stages[0].mean[::2]:
        nn.init.zeros_(convolution.weight)
    teacher = [torch.full((2, 1, 3, 3), 2.0, dtype=torch.float64)]
    values = {}
    for variance in (3.0, 4.0, 5.0):
        loss.stages[0].a.data.fill_(math.log(math.expm1(variance - 1e-5)))
        values[variance] = loss([torch.ones_like(teacher[0])], teacher).item()
    assert min(values, key=values.get) == 4.0 and values[4.0] == pytest.approx((1 + math.log(4)) / 2)


def test_crd_is_positive_and_treats_both_networks_alike():
    first = made(crd)
    second = copy.deepcopy(first)
    second.embed_s, second.embed_t = second.embed_t, second.embed_s
    second.bank_s, second.bank_t = second.bank_t, second.bank_s
    for _ in range(2):
        torch.manual_seed(1)
        one = first(*POOLED, INDEX)
        torch.manual_seed(1)
        other = second(POOLED[1], POOLED[0], INDEX)
        torch.testing.assert_close(one, other)
        assert one > 0
    torch.testing.assert_close(first.bank_s, second.bank_t)


def test_crd_falls_when_both_embed_an_image_alike():
    loss = made(lambda: CRD(6, 6, LABELS, embedding=6, negatives=4))
    loss.embed_s = loss.embed_t = nn.Linear(6, 6).double()
    bank = nn.functional.normalize(rand(9, 6), dim=1)
    loss.bank_s, loss.bank_t = bank, bank.clone()
    x = torch.linalg.solve(loss.embed_s.weight, (bank[INDEX] - loss.embed_s.bias).T).T.detach()
    alike, strange = copy.deepcopy(loss)(x, x, INDEX), copy.deepcopy(loss)(x, x.flip(0), INDEX)
    assert alike < strange


def test_strangers_are_of_other_classes_and_equally_likely():
    torch.manual_seed(0)
    drawn = Strangers(LABELS)(torch.arange(9), 20_000)
    for row, label in zip(drawn, LABELS, strict=True):
        counts = torch.bincount(row, minlength=9)
        strangers = label != LABELS
        assert counts[~strangers].sum() == 0
        share = counts[strangers] / 20_000
        assert (share - 1 / strangers.sum()).abs().max() < 0.02
