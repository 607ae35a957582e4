"""The feature losses with small inputs, for the tests of all of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from normkd_explore.feature_losses import AT, CRD, NST, OFD, PKT, RKD, SDD, SP, VID, FitNet, Regressor, ReviewKD
from normkd_explore.losses import DKD, KD, NormKD

LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 0, 1])
INDEX = torch.tensor([4, 0, 7])
B = len(INDEX)


def rand(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def made(build, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build().double()


MAPS_S = (rand(B, 2, 6, 6, seed=1), rand(B, 3, 4, 4, seed=2), rand(B, 4, 2, 2, seed=3))
MAPS_T = (rand(B, 3, 6, 6, seed=4), rand(B, 4, 2, 2, seed=5), rand(B, 5, 4, 4, seed=6))
POOLED = (rand(B, 5, seed=7), rand(B, 7, seed=8))
SHAPES = [[tuple(m.shape[1:]) for m in maps] for maps in (MAPS_S, MAPS_T)]
WIDTHS = [[shape[0] for shape in shapes] for shapes in SHAPES]
CELLS = (2 * rand(B, 5, 4, seed=9), 2 * rand(B, 5, 4, seed=10))
TARGET = torch.tensor([1, 3, 0])


def fitnet(place: int = 0) -> FitNet:
    return FitNet(Regressor(SHAPES[0][place], SHAPES[1][place]))


def crd(**options) -> CRD:
    return CRD(5, 7, LABELS, **{"embedding": 6, "negatives": 4, **options})


def ofd() -> OFD:
    return OFD(WIDTHS[0], [-0.5 - rand(width, seed=12).abs() for width in WIDTHS[1]])


# name: (loss, student's arguments, teacher's arguments, the rest)
CASES = {
    "fitnet": (fitnet, MAPS_S[0], MAPS_T[0], ()),
    "fitnet-smaller": (lambda: fitnet(1), MAPS_S[1], MAPS_T[1], ()),
    "fitnet-larger": (lambda: fitnet(2), MAPS_S[2], MAPS_T[2], ()),
    "at": (AT, MAPS_S, MAPS_T, ()),
    "rkd": (RKD, *POOLED, ()),
    "sp": (SP, MAPS_S[0], MAPS_T[1], ()),
    "pkt": (PKT, *POOLED, ()),
    "nst": (NST, MAPS_S, MAPS_T, ()),
    "vid": (lambda: VID(*WIDTHS), MAPS_S, MAPS_T, ()),
    "crd": (crd, *POOLED, (INDEX,)),
    "reviewkd": (lambda: ReviewKD(*SHAPES), MAPS_S, MAPS_T, ()),
    "ofd": (ofd, MAPS_S, MAPS_T, ()),
    "sdd": (lambda: SDD(KD(4.0)), *CELLS, (TARGET,)),
    "sdd-dkd": (lambda: SDD(DKD(), average=False), *CELLS, (TARGET,)),
    "sdd-normkd": (lambda: SDD(NormKD()), *CELLS, (TARGET,)),
}
cases = pytest.mark.parametrize("name", CASES)


def as_list(side):
    return list(side) if isinstance(side, tuple) else [side]


def called(loss, student, teacher, rest, like):
    """The loss on lists of tensors, its random draws fixed."""
    torch.manual_seed(11)
    return loss(student, teacher, *rest) if isinstance(like, tuple) else loss(student[0], teacher[0], *rest)
