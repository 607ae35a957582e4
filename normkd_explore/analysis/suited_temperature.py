"""Which temperature would suit each sample: the one that softens it as much as asked for.

Legend: N samples, C classes, B rows of a block.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from normkd_explore.analysis.row_blocks import by_rows
from normkd_explore.analysis.statistics import Floats, as_table, softened_entropy
from normkd_explore.checks import check_positive
from normkd_explore.temperature import row_std
from normkd_explore.temperature.spread import check_three_classes

HALVINGS = 80
WIDEST = 1e6


def normkd_temperature(logits: ArrayLike | Tensor, t_norm: float = 2.0) -> Floats:
    """NormKD's temperature of each sample, T_norm · std(z), (N,); NaN where all logits of a row are equal.

    Source: NormKD, Chi et al., arXiv 2308.00520.

    Raises:
        ValueError: fewer than 3 classes, or values that are not finite.
    """
    table_NC = as_table(logits)
    check_three_classes(table_NC)
    return check_positive("t_norm", t_norm) * by_rows(_spread, table_NC).numpy()


def _spread(logits_BC: Tensor) -> Tensor:
    std_B1, flat_B1 = row_std(logits_BC)
    return std_B1.masked_fill(flat_B1, math.nan).squeeze(1)


def suited_temperature(logits: ArrayLike | Tensor, entropy: float) -> Floats:
    """The T of each sample for which softmax(z / T) has the wanted entropy in nats, (N,).

    Entropy rises with T, from log k (k classes share the largest logit) to log C, so there is one such T or none.
    It is found by bisection of log T, relative to the sample's spread, to some 12 digits. NaN where there is none.

    Raises:
        ValueError: `entropy` does not lie between 0 and log C, or logits are not finite.
    """
    table_NC = as_table(logits)
    highest = math.log(table_NC.shape[1])
    if not 0 < entropy < highest:
        raise ValueError(
            f"entropy is {entropy:g} nats, wanted a value between 0 (one class has everything) and log C = "
            f"{highest:.3f} (an even spread over {table_NC.shape[1]} classes), both excluded."
        )
    return by_rows(lambda logits_BC: torch.from_numpy(_bisect(logits_BC, entropy)), table_NC).numpy()


def _bisect(logits_BC: Tensor, entropy: float) -> Floats:
    std_B1, flat_B1 = row_std(logits_BC)
    centred_BC = (logits_BC - logits_BC.amax(dim=1, keepdim=True)) / std_B1
    low_B = np.full(len(logits_BC), -math.log(WIDEST))
    high_B = -low_B
    lowest_B = softened_entropy(centred_BC, np.exp(low_B))
    for _ in range(HALVINGS):
        middle_B = (low_B + high_B) / 2
        too_soft_B = softened_entropy(centred_BC, np.exp(middle_B)) > entropy
        low_B, high_B = np.where(too_soft_B, low_B, middle_B), np.where(too_soft_B, middle_B, high_B)
    none_B = flat_B1.squeeze(1).numpy() | (lowest_B >= entropy)
    return np.where(none_B, math.nan, np.exp(high_B) * std_B1.squeeze(1).numpy())


def common_temperature(logits: ArrayLike | Tensor, entropy: float) -> float:
    """The one T for all samples at which their median softened entropy is the wanted one, in nats.

    Half of the samples want a larger T and half a smaller one, so it is the median of `suited_temperature`.

    Raises:
        ValueError: as `suited_temperature`, or no sample can have that entropy.
    """
    suited_N = suited_temperature(logits, entropy)
    if np.isnan(suited_N).all():
        raise ValueError(f"no sample reaches an entropy of {entropy:g} nats at any T: all rows are constant or tied.")
    return float(np.nanmedian(suited_N))


def share_off(temperature: float, suited_N: NDArray[np.float64], factor: float = 1.5) -> float:
    """Share of samples for which `temperature` is more than `factor` times too large or too small.

    Samples without a suited temperature (NaN) are left out; NaN if none is left.
    """
    ratio_N = check_positive("temperature", temperature) / suited_N[~np.isnan(suited_N)]
    return float(np.mean((ratio_N > factor) | (ratio_N < 1 / factor))) if len(ratio_N) else math.nan


def top_bound(num_classes: int, t_norm: float) -> float:
    """The largest probability that NormKD's softening can leave to any class of any sample.

        1 / (1 + (C - 1) · exp(-√C / T_norm))

    Of all rows with standard deviation 1 (divisor C - 1), the one with a single class above C - 1 equal ones has the
    most certain softmax, and its gap is √C. So with few classes NormKD stays soft, however sure the teacher is.

    Raises:
        ValueError: fewer than 3 classes, or `t_norm` not above 0.
    """
    check_three_classes(torch.empty(1, num_classes))
    return 1 / (1 + (num_classes - 1) * math.exp(-math.sqrt(num_classes) / check_positive("t_norm", t_norm)))
