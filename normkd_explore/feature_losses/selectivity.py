"""NST: the set of patterns that a stage's channels respond to shall be the teacher's, whichever channel holds which.

Shapes: B batch, K channels, H, W, P = H * W places; `_s` student, `_t` teacher.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from normkd_explore.feature_losses.base import check_stages, same_size, unit
from normkd_explore.precision import ignores_autocast, in_full_precision


class NST(nn.Module):
    """Maximum mean discrepancy between the channel maps of both networks, with the kernel k(a, b) = (a · b)².

        n = each channel's map, flat and of norm 1, (B, K, P)
        l = Σ over stages of  mean over B of  ( mean k(n_t, n_t) + mean k(n_s, n_s) - 2 mean k(n_s, n_t) )

    The inner means run over all pairs of channels. Where sizes differ, the larger map is average-pooled to the
    smaller. The order of the channels and the scale of each play no part.

    Shapes: two lists of as many maps (B, K, H, W) -> scalar, at least 0 up to rounding.
    Raises:
        TypeError, ValueError: wrong tensors, or lists of different lengths.
    Source: Huang and Wang, "Like What You Like: Knowledge Distill via Neuron Selectivity Transfer", arXiv 1707.01219.
    """

    @ignores_autocast
    def forward(self, stages_s: Sequence[Tensor], stages_t: Sequence[Tensor]) -> Tensor:
        check_stages(stages_s, stages_t, "NST")
        return torch.stack([_discrepancy(*pair) for pair in zip(stages_s, stages_t, strict=True)]).sum()


def _discrepancy(map_s: Tensor, map_t: Tensor) -> Tensor:
    maps_BKHW = same_size(*in_full_precision(map_s, map_t.detach()))
    s_BKP, t_BKP = (unit(map_BKHW.flatten(2)) for map_BKHW in maps_BKHW)
    return _kernel_mean(t_BKP, t_BKP) + _kernel_mean(s_BKP, s_BKP) - 2 * _kernel_mean(s_BKP, t_BKP)


def _kernel_mean(a_BKP: Tensor, b_BKP: Tensor) -> Tensor:
    return (a_BKP @ b_BKP.mT).square().mean()
