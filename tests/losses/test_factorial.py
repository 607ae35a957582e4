"""Temperature and weight crossed: KD, KD weighed by the variance, LSKD and NormKD differ in one thing at a time."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from normkd_explore.losses import KD, LSKD, NormKD
from normkd_explore.methods import get_method
from normkd_explore.methods.options import read_argument
from normkd_explore.temperature import Constant


def pair(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.normal(0, 2, (6, 9))), torch.from_numpy(random.normal(0, 4, (6, 9)))


def kd_of_a_row(z_s: np.ndarray, z_t: np.ndarray, T: float) -> float:
    log_p, log_q = log_softmax(z_t / T), log_softmax(z_s / T)
    return float((np.exp(log_p) * (log_p - log_q)).sum())


def test_weight_by_the_variance_is_its_definition():
    z_s, z_t = pair()
    rows = [16 * t.std(ddof=1) ** 2 * kd_of_a_row(s, t, 4.0) for s, t in zip(z_s.numpy(), z_t.numpy(), strict=True)]
    np.testing.assert_allclose(KD(4.0, weight="variance").per_sample(z_s, z_t).numpy(), rows, rtol=1e-12)
    assert KD(4.0, weight="variance")(z_s, z_t).item() == pytest.approx(np.mean(rows), rel=1e-12)


def test_the_two_pairs_of_cells_differ_by_the_same_factor():
    z_s, z_t = pair(1)
    variance = z_t.var(dim=1)
    by_weight = KD(4.0, weight="variance").per_sample(z_s, z_t) / KD(4.0).per_sample(z_s, z_t)
    torch.testing.assert_close(by_weight, variance, rtol=1e-12, atol=0)
    own = NormKD(2.0).per_sample(z_s, z_t) / LSKD(2.0).per_sample(z_s, z_t)
    torch.testing.assert_close(own, variance, rtol=1e-6, atol=0)  # LSKD adds 1e-7 to every std


def test_a_teacher_without_an_opinion_counts_nothing():
    z_s, z_t = pair(2)
    z_t[3] = 1.5
    losses = KD(4.0, weight="variance").per_sample(z_s, z_t)
    assert losses[3] == 0 and (losses[[0, 1, 2, 4, 5]] > 0).all()


def test_another_word_is_refused_and_the_cell_is_reached_by_set():
    with pytest.raises(ValueError, match=r"weight is 'std', wanted \"alike\""):
        Constant(4.0, "std")
    assert read_argument(get_method("kd"), "weight=variance") == ("weight", "variance")
    assert Constant(4.0, "variance").describe().endswith("counts T² · std² = 16 · std(z_t)² times.")
