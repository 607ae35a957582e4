"""RKD, SP, PKT: not the features themselves, but how the samples of a batch lie to each other.

None has parameters, and the two networks may have features of different sizes. A batch of one has no relations: 0.

Shapes: B batch, D features; `_s` student, `_t` teacher.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normkd_explore.checks import check_non_negative
from normkd_explore.feature_losses.base import check_maps, check_vectors, unit
from normkd_explore.precision import ignores_autocast, in_full_precision

SMALLEST_SQUARE = 1e-12
"""Squared distances are kept above this, where the root still has a gradient; nearer points have no direction."""
PKT_EPSILON = 1e-7


class RKD(nn.Module):
    """Distances between samples, relative to their mean, and angles between three samples, shall be the teacher's.

        D_ij = |f_i - f_j| / mean over i != j of |f_i - f_j|
        A_ijk = cos of the angle at f_i between f_j and f_k; 0 where two of them are the same sample as f_i
        l = distance · mean over i, j of h(D_s - D_t)  +  angle · mean over i, j, k of h(A_s - A_t)

    h is the smooth L1 (Huber) loss with threshold 1; the means count the zeros of the diagonals. Moving, rotating or
    scaling all features of a network changes nothing.

    Shapes: (B, D_s), (B, D_t) -> scalar; memory grows with B³ and B² · D.
    Raises:
        TypeError, ValueError: wrong tensors, or a negative factor.
    Source: Park et al., "Relational Knowledge Distillation", CVPR 2019, arXiv 1904.05068.
    """

    def __init__(self, distance: float = 25.0, angle: float = 50.0) -> None:
        super().__init__()
        self.distance, self.angle = check_non_negative("distance", distance), check_non_negative("angle", angle)

    @ignores_autocast
    def forward(self, pooled_s: Tensor, pooled_t: Tensor) -> Tensor:
        check_vectors(pooled_s, pooled_t)
        pooled_s_BD, pooled_t_BD = in_full_precision(pooled_s, pooled_t.detach())
        distances_s_BB, angles_s_BBB = _distances_and_angles(pooled_s_BD)
        distances_t_BB, angles_t_BBB = _distances_and_angles(pooled_t_BD)
        by_distance = F.smooth_l1_loss(distances_s_BB, distances_t_BB)
        return self.distance * by_distance + self.angle * F.smooth_l1_loss(angles_s_BBB, angles_t_BBB)

    def extra_repr(self) -> str:
        return f"distance={self.distance:g}, angle={self.angle:g}"


def _distances_and_angles(points_BD: Tensor) -> tuple[Tensor, Tensor]:
    # Differences rather than |a|² + |b|² - 2ab: near points of long vectors would drown in rounding there.
    offsets_BBD = points_BD[None] - points_BD[:, None]
    squares_BB = offsets_BBD.square().sum(2)
    apart_BB = squares_BB > SMALLEST_SQUARE
    lengths_BB = squares_BB.clamp_min(SMALLEST_SQUARE).sqrt()
    directions_BBD = torch.where(apart_BB[..., None], offsets_BBD / lengths_BB[..., None], 0.0)
    others_BB = ~torch.eye(len(points_BD), dtype=torch.bool, device=points_BD.device)
    distances_BB = lengths_BB * others_BB
    mean = distances_BB.sum() / others_BB.sum().clamp_min(1)
    return distances_BB / mean.clamp_min(SMALLEST_SQUARE), directions_BBD @ directions_BBD.mT


class SP(nn.Module):
    """Which samples of the batch activate a stage alike shall be as with the teacher.

        G = rows of (F Fᵀ), each divided by its norm, (B, B);  F the flat feature maps, (B, K · H · W)
        l = |G_s - G_t|² / B²

    Rotating the flat features of a network, or scaling all of them by one factor, changes nothing.

    Shapes: (B, K_s, H_s, W_s), (B, K_t, H_t, W_t) -> scalar.
    Raises:
        TypeError, ValueError: wrong tensors.
    Source: Tung and Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019, arXiv 1907.09682.
    """

    @ignores_autocast
    def forward(self, map_s: Tensor, map_t: Tensor) -> Tensor:
        check_maps(map_s, map_t)
        gram_s_BB, gram_t_BB = (_gram_BB(map_BKHW) for map_BKHW in in_full_precision(map_s, map_t.detach()))
        return F.mse_loss(gram_s_BB, gram_t_BB)


def _gram_BB(map_BKHW: Tensor) -> Tensor:
    flat_BD = map_BKHW.flatten(1)
    return unit(flat_BD @ flat_BD.T)


class PKT(nn.Module):
    """The probability that a sample would pick another as its neighbour shall be the teacher's.

        P_ij = (cos(f_i, f_j) + 1) / Σ_k (cos(f_i, f_k) + 1)
        l = mean over i, j of  P_t · log( (P_t + 1e-7) / (P_s + 1e-7) )

    A mean over all B² pairs as in mdistiller, hence small, which its large published weight makes up for. Rotating the
    features of a network, or scaling each sample's by a factor of its own, changes nothing.

    Shapes: (B, D_s), (B, D_t) -> scalar.
    Raises:
        TypeError, ValueError: wrong tensors.
    Source: Passalis and Tefas, "Learning Deep Representations with Probabilistic Knowledge Transfer", ECCV 2018,
    arXiv 1803.10837.
    """

    @ignores_autocast
    def forward(self, pooled_s: Tensor, pooled_t: Tensor) -> Tensor:
        check_vectors(pooled_s, pooled_t)
        P_s_BB, P_t_BB = (_neighbours_BB(pooled_BD) for pooled_BD in in_full_precision(pooled_s, pooled_t.detach()))
        return (P_t_BB * ((P_t_BB + PKT_EPSILON).log() - (P_s_BB + PKT_EPSILON).log())).mean()


def _neighbours_BB(pooled_BD: Tensor) -> Tensor:
    directions_BD = unit(pooled_BD)
    closeness_BB = directions_BD @ directions_BD.T + 1
    return closeness_BB / closeness_BB.sum(dim=1, keepdim=True)
