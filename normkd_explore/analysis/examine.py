"""A look at logits before any training: which temperature suits them, and what would go wrong.

No pandas here: `normkd stats` runs where no notebook does. Float64 is used for some rows at a time (`by_rows`), so that
a file's logits are in memory once, as they are stored.

Legend: N samples, C classes, B rows of a block.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from normkd_explore.analysis.calibration import binned
from normkd_explore.analysis.logits import spread_index
from normkd_explore.analysis.row_blocks import by_rows, chosen_rows
from normkd_explore.analysis.statistics import (
    MEASURES,
    Floats,
    LogitStatistics,
    logit_statistics,
    softened_entropy,
)
from normkd_explore.analysis.suited_temperature import common_temperature, normkd_temperature, share_off, top_bound
from normkd_explore.checks import check_positive
from normkd_explore.methods import get_method

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
OFF = 1.5
SEARCHED = 2000  # samples among which the common temperature is searched
# Saved in half precision, a row's probabilities miss 1 by some thousandths.
SUM_TOLERANCE = 0.01
FLAT, SATURATED = 0.99, 0.05


def examine(
    logits: ArrayLike | Tensor,
    labels: ArrayLike | Tensor | None = None,
    temperature: float = 4.0,
    t_norm: float = 2.0,
) -> dict[str, Any]:
    """Everything that `normkd stats` prints, as plain numbers that JSON can write.

    Rows with NaN or infinity are counted and left out. Keys: n, left_out, classes, measures (quantiles of
    `MEASURES`), kd, normkd (None with fewer than 3 classes), probabilities (whether the rows look like some), warnings;
    with labels also top1 and ece.

    Args:
        logits: (N, C), as a network returns them.
        labels: N class positions.
        temperature: KD's T.
        t_norm: NormKD's T_norm.
    Raises:
        ValueError: no finite row is left, or shapes or labels do not fit.
    """
    temperature, t_norm = check_positive("temperature", temperature), check_positive("t_norm", t_norm)
    logits_NC, labels_N, left_out = _finite_rows(logits, labels)
    stats = logit_statistics(logits_NC, labels_N)
    result: dict[str, Any] = {"n": len(stats), "left_out": left_out, "classes": stats.num_classes}
    if labels_N is not None:
        result["top1"] = float(stats.correct_N.mean())
        result["ece"] = binned(stats.confidence_N, stats.correct_N).ece
    result["measures"] = {name: _quantiles(stats.measure(name)) for name in MEASURES}
    result["kd"] = {"temperature": temperature, "entropy": _quantiles(softened_entropy(logits_NC, temperature))}
    several = stats.num_classes > 2 and (stats.std_N > 0).any()
    spread_N = torch.from_numpy(stats.std_N > 0)
    result["normkd"] = _normkd(chosen_rows(logits_NC, spread_N), temperature, t_norm) if several else None
    result["probabilities"] = looks_like_probabilities(logits_NC)
    result["warnings"] = _warnings(logits_NC, stats, result)
    return result


def _finite_rows(logits: Any, labels: Any) -> tuple[Tensor, Tensor | None, int]:
    logits_NC = torch.as_tensor(logits).detach().cpu()
    if logits_NC.ndim != 2:
        raise ValueError(f"logits have shape {tuple(logits_NC.shape)}, wanted (N, C): one row a sample.")
    labels_N = None if labels is None else torch.as_tensor(labels).detach().cpu()
    if labels_N is not None and labels_N.shape != logits_NC.shape[:1]:
        raise ValueError(f"labels have shape {tuple(labels_N.shape)}, wanted ({len(logits_NC)},): one class a sample.")
    finite_N = by_rows(lambda z_BC: torch.isfinite(z_BC).all(dim=1), logits_NC)
    if not finite_N.any():
        raise ValueError(
            f"none of the {len(logits_NC)} rows is finite: each holds NaN or infinity. Look for a learning rate that "
            "was too high, an overflow in half precision, or damaged weights."
        )
    kept_N = None if labels_N is None else labels_N[finite_N]
    return chosen_rows(logits_NC, finite_N), kept_N, int((~finite_N).sum())


def _normkd(logits_NC: Tensor, temperature: float, t_norm: float) -> dict[str, Any]:
    T_N = normkd_temperature(logits_NC, t_norm)
    entropy_N = softened_entropy(logits_NC, T_N)
    few_KC = logits_NC[spread_index(SEARCHED, len(logits_NC))]
    weight = float(np.mean(T_N**2))
    return {
        "t_norm": t_norm,
        "temperature": _quantiles(T_N),
        "entropy": _quantiles(entropy_N),
        "mean_weight": weight,
        "off_share": share_off(temperature, T_N, OFF),
        "kd_temperature_of_equal_entropy": common_temperature(few_KC, float(np.median(entropy_N))),
        "t_norm_of_kd_temperature": temperature / float(np.median(T_N / t_norm)),
        "kd_weight_of_lskd_scale": lskd_scale() / weight,
    }


def lskd_scale() -> float:
    """How often LSKD counts every sample's divergence with its default CIFAR-100 settings: kd_weight · T²."""
    settings = get_method("lskd").cifar100
    return settings.kd_weight * settings.loss["temperature"] ** 2


def _quantiles(values_N: Floats) -> dict[str, float]:
    named = {
        f"{100 * q:g}%": float(value) for q, value in zip(QUANTILES, np.quantile(values_N, QUANTILES), strict=True)
    }
    return {**named, "average": float(values_N.mean())}


def _warnings(logits_NC: Tensor, stats: LogitStatistics, result: dict[str, Any]) -> list[str]:
    found = _data_warnings(logits_NC, stats, result)
    if result["probabilities"]:
        return found
    highest = math.log(stats.num_classes)
    settings = {f"KD at T = {result['kd']['temperature']:g}": result["kd"]}
    if normkd := result["normkd"]:
        settings[f"NormKD at T_norm = {normkd['t_norm']:g}"] = normkd
    for name, part in settings.items():
        share = part["entropy"]["50%"] / highest
        if share > FLAT:
            found.append(
                f"flat: {name} leaves the median sample {100 * share:.1f} % of an even spread's entropy, so nearly "
                "nothing to learn from. Lower the temperature."
            )
        elif share < SATURATED:
            found.append(
                f"saturated: {name} leaves the median sample {100 * share:.1f} % of an even spread's entropy, so the "
                "teacher says little more than the label. Raise the temperature."
            )
    if normkd and top_bound(stats.num_classes, normkd["t_norm"]) < 0.5:
        bound = top_bound(stats.num_classes, normkd["t_norm"])
        found.append(
            f"few classes: with {stats.num_classes} classes T_norm = {normkd['t_norm']:g} leaves no class more than "
            f"{100 * bound:.0f} %, however sure the model is. A smaller T_norm leaves more."
        )
    return found


def _data_warnings(logits_NC: Tensor, stats: LogitStatistics, result: dict[str, Any]) -> list[str]:
    found = []
    if left_out := result["left_out"]:
        found.append(f"not finite: rows with NaN or infinity, left out: {left_out:,}.")
    if flat := int((stats.std_N == 0).sum()):
        found.append(
            f"constant rows: {flat:,}. All their logits are equal, so they have no NormKD temperature and say nothing "
            "(NormKD gives them the weight 0 here; a plain division by std gives NaN)."
        )
    if stats.num_classes == 2:
        found.append(
            "two classes: the z-scores of two numbers are always ±0.707, so NormKD and LSKD cannot learn from them. "
            "Use KD with a constant temperature."
        )
    if result["probabilities"]:
        found.append(
            "these look like probabilities, not logits: every row lies in [0, 1] and sums to 1. Softening them again "
            "is wrong. Their logarithm serves as logits, unless some were rounded to 0: then save the logits "
            "instead."
        )
    elif bool((by_rows(lambda z_BC: z_BC.logsumexp(dim=1), logits_NC).abs() < SUM_TOLERANCE).all()):
        found.append(
            "these look like log-probabilities: exp of every row sums to 1. They serve as logits (same std, entropy "
            "and temperatures), but their mean and max are shifted."
        )
    return found


def looks_like_probabilities(logits_NC: Tensor) -> bool:
    """Whether every row lies in [0, 1] and sums to 1 (±0.01)."""
    return bool(by_rows(_like_probabilities, logits_NC).all())


def _like_probabilities(z_BC: Tensor) -> Tensor:
    inside_B = ((z_BC >= 0) & (z_BC <= 1 + SUM_TOLERANCE)).all(dim=1)
    return inside_B & ((z_BC.sum(dim=1) - 1).abs() < SUM_TOLERANCE)


def format_examination(name: str, result: dict[str, Any]) -> str:
    """What `examine` found as a text of some 20 lines; every number is rounded to what it means."""
    head = f"{name}: {result['n']:,} samples, {result['classes']:,} classes"
    if "top1" in result:
        head += f", top-1 {100 * result['top1']:.2f} %, calibration error {100 * result['ece']:.1f} %"
    rows = {name: result["measures"][name] for name in MEASURES}
    kd, normkd = result["kd"], result["normkd"]
    rows[f"KD T={kd['temperature']:g}: entropy"] = kd["entropy"]
    if normkd:
        rows[f"NormKD T_norm={normkd['t_norm']:g}: entropy"] = normkd["entropy"]
        rows[f"NormKD T_norm={normkd['t_norm']:g}: T"] = normkd["temperature"]
    width = max(map(len, rows))
    columns = list(next(iter(rows.values())))
    lines = [head, " " * width + "".join(f"{column:>10}" for column in columns)]
    lines += [f"{row:<{width}}" + "".join(f"{values[c]:>10.3f}" for c in columns) for row, values in rows.items()]
    # Advice on probabilities would be advice on the wrong numbers.
    lines += _advice(kd, normkd) if normkd and not result["probabilities"] else []
    return "\n".join([*lines, *(f"warning: {text}" for text in result["warnings"])])


def _advice(kd: dict[str, Any], normkd: dict[str, Any]) -> list[str]:
    T, t_norm = kd["temperature"], normkd["t_norm"]
    return [
        f"one T for all: for {100 * normkd['off_share']:.1f} % of the samples T = {T:g} is more than {OFF:g} times "
        "off NormKD's.",
        f"same softness at the median: T_norm = {t_norm:g} and KD's T = "
        f"{normkd['kd_temperature_of_equal_entropy']:.2f}, or T = {T:g} and T_norm = "
        f"{normkd['t_norm_of_kd_temperature']:.2f}.",
        f"weight: NormKD counts a sample's divergence T² = {normkd['mean_weight']:.3g} times on average; --kd-weight "
        f"{normkd['kd_weight_of_lskd_scale']:.2g} gives the scale of LSKD's default CIFAR-100 settings, "
        f"{lskd_scale():g}.",
    ]
