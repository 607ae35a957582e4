"""The neighbours of NormKD as losses, with logits to try them on."""

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st

from normkd_explore import losses as L

ON_THE_SAMPLE = [
    L.RLD(),
    L.NormRLD(),
    L.ATLC(),
    L.DTKD(),
    L.DTKD(4.0, 3.0, 1.0),
    L.CTKD(),
    L.TTM(0.2),
    L.WTTM(0.2),
    L.NKD(),
    L.NKD(3.5, 3.0),
    L.BiLD(),
    L.NormBiLD(),
    L.JSD(),
    L.JSD(0.9, 1.0),
    L.SKL(),
    L.SRKL(),
    L.ABKD(),
    L.ABKD(0.3, 0.9, 1.0),
    L.TAID(),
    L.WKD(),
]
ON_THE_BATCH = [L.DIST(), L.NormDIST(), L.MLKD(), L.MLKD(as_coded=True), L.NormMLKD()]
ALL = ON_THE_SAMPLE + ON_THE_BATCH
few = settings(deadline=None, max_examples=5)
seeds = st.integers(0, 10_000)


def random_inputs(batch=6, classes=12, seed=0, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    s, t = rng.normal(0, [[[1.5]], [[3.0]]], (2, batch, classes))
    y = torch.from_numpy(rng.integers(0, classes, batch))
    return torch.from_numpy(s).to(dtype), torch.from_numpy(t).to(dtype), y


def gradient(loss, s, t, y):
    leaf = s.detach().clone().requires_grad_()
    return torch.autograd.grad(loss(leaf, t, y), leaf)[0]
