"""What is searched, and what a search begins with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from normkd_explore.methods import Settings, settings_for
from normkd_explore.tuning import Space
from normkd_explore.tuning.space import advised, brief, rounded


def space(method: str, *changes: str) -> Space:
    return Space.around(method, settings_for(method, "cifar100", "resnet32x4", "resnet8x4"), changes)


def test_temperatures_and_weights_are_searched_around_the_published():
    assert space("normkd").ranges == {"t_norm": (0.5, 8.0), "ce_weight": (0.0125, 0.8), "kd_weight": (0.1125, 7.2)}
    assert set(space("kd").ranges) == {"temperature", "ce_weight", "kd_weight"}
    assert set(space("dkd", "beta=1:32").ranges) == {"temperature", "ce_weight", "kd_weight", "beta"}
    assert space("kd", "temperature=1:9").ranges["temperature"] == (1.0, 9.0)


def test_settings_of_some_values_keep_everything_else():
    start = Settings({"alpha": 1.0, "beta": 8.0, "temperature": 4.0}, 1.0, 1.0, 20, source="a paper")
    found = Space.around("dkd", start).settings({"temperature": 2.0, "kd_weight": 3.0})
    assert found.loss == {"alpha": 1.0, "beta": 8.0, "temperature": 2.0} and found.warmup_epochs == 20
    assert (found.ce_weight, found.kd_weight, found.published) == (1.0, 3.0, False)


@pytest.mark.parametrize("text", ["t_norm", "t_norm=1", "t_norm=2:1", "t_norm=0:1", "t_norm=1:inf", "weight=1:2"])
def test_ranges_that_cannot_be_are_explained(text):
    with pytest.raises(ValueError, match=r"--search: found .*wanted NAME=LOW:HIGH .* one of t_norm, ce_weight"):
        space("normkd", text)


def test_a_method_without_teacher_has_nothing_to_tune():
    with pytest.raises(ValueError, match="ce has no teacher"):
        space("ce")


@pytest.mark.parametrize("method", ["normkd", "lskd", "kd"])
def test_advice_softens_like_the_other_method_does(method):
    """T_norm for T = 4 gives the median sample T = 4; KD's T gives the median entropy of NormKD at T_norm = 2."""
    logits = torch.randn(300, 20, generator=torch.Generator().manual_seed(0)) * torch.linspace(1, 5, 300)[:, None]
    first, second, *more = advised(space(method), logits)
    assert first == space(method).values(space(method).start)
    std = logits.double().numpy().std(axis=1, ddof=1)
    if method == "kd":
        entropies = []
        for T in (np.full(300, second["temperature"]), 2 * std):
            z = logits.double().numpy() / T[:, None]
            p = np.exp(z - z.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            entropies.append(np.median(-(p * np.log(p)).sum(1)))
        assert entropies[0] == pytest.approx(entropies[1], rel=1e-3) and not more
    else:
        name = "t_norm" if method == "normkd" else "temperature"
        assert np.median(second[name] * std) == pytest.approx(4.0, rel=1e-3)
    if method == "normkd":
        assert more[0]["kd_weight"] * np.mean((2 * std) ** 2) == pytest.approx(9 * 4, rel=1e-3)  # LSKD's scale


def test_what_is_advised_is_never_at_the_edge():
    wide = space("normkd").widened({"kd_weight": 100.0, "t_norm": 1.0, "ce_weight": 0.01})
    assert wide.ranges == {"t_norm": (0.5, 8.0), "ce_weight": (0.005, 0.8), "kd_weight": (0.1125, 200.0)}


def test_numbers_are_rounded_to_what_can_be_told_apart():
    assert rounded({"a": 1.23456, "b": 0.000123456, "c": 12345.0}) == {"a": 1.23, "b": 0.000123, "c": 12300.0}
    assert brief({"t_norm": 1.5, "ce_weight": 0.1, "kd_weight": 0.9}) == "t_norm 1.5, CE x 0.1, KD x 0.9"
