"""Cross-entropy, KD, NormKD, DKD, NormKD + DKD and LSKD with their published settings."""

from __future__ import annotations

from typing import Any

from normkd_explore import losses
from normkd_explore.methods.registry import NORMKD_PAIRS, Method, Pair, Settings, register

_R110_R20: tuple[Pair, ...] = (("resnet110", "resnet20"),)

_MDISTILLER = "mdistiller configuration (megvii-research/mdistiller)"
_NORMKD = "NormKD configuration (gizi1/NormKD)"
_LSKD = "LSKD published log names and defaults (sunshangquan/logit-standardization-KD)"


def _normdkd_pairs() -> dict[Pair, dict[str, Any]]:
    # The published alpha of each CIFAR-100 pair; beta is 9 - alpha in every one of them.
    alphas = (7.0, 5.0, 4.0, 4.0, 3.0, 2.0, 0.5, 4.0, 4.0, 3.0, 2.0)
    table = {pair: {"alpha": a, "beta": 9.0 - a} for pair, a in zip(NORMKD_PAIRS, alphas, strict=True)}
    table["resnet34", "resnet18"] = {"t_norm": 0.5}
    table["resnet50", "mobilenetv1"] = {"t_norm": 0.75}
    return table


register(
    Method(
        "ce",
        "Cross-entropy alone, no teacher",
        losses.CE,
        Settings(kd_weight=0.0, source="the same recipe without a teacher"),
        Settings(kd_weight=0.0, source="the same recipe without a teacher"),
        needs_teacher=False,
    )
)

register(
    Method(
        "kd",
        "KD, Hinton et al. 2015 (arXiv 1503.02531)",
        losses.KD,
        Settings({"temperature": 4.0}, 0.1, 0.9, source=_MDISTILLER),
        Settings({"temperature": 1.0}, 0.5, 0.5, source=_MDISTILLER),
    )
)

register(
    Method(
        "normkd",
        "NormKD, Chi et al. 2023 (arXiv 2308.00520)",
        losses.NormKD,
        Settings({"t_norm": 2.0}, 0.1, 0.9, source=_NORMKD),
        Settings({"t_norm": 1.0}, 0.5, 0.5, source=_NORMKD),
        unpublished=_R110_R20,
    )
)

register(
    Method(
        "dkd",
        "DKD, Zhao et al. 2022 (arXiv 2203.08679)",
        losses.DKD,
        Settings({"alpha": 1.0, "beta": 8.0, "temperature": 4.0}, 1.0, 1.0, 20, source=_MDISTILLER),
        Settings({"alpha": 1.0, "beta": 0.5, "temperature": 1.0}, 1.0, 1.0, 1, source=_MDISTILLER),
        pairs={
            ("resnet56", "resnet20"): {"beta": 2.0},
            ("resnet110", "resnet32"): {"beta": 2.0},
            ("vgg13", "vgg8"): {"beta": 6.0},
            ("vgg13", "MobileNetV2"): {"beta": 6.0},
            ("wrn_40_2", "wrn_16_2"): {"beta": 6.0},
            ("wrn_40_2", "wrn_40_1"): {"beta": 6.0},
            ("resnet50", "mobilenetv1"): {"beta": 2.0},
        },
        unpublished=_R110_R20,
    )
)

register(
    Method(
        "normdkd",
        "NormKD + DKD, Chi et al. 2023 (arXiv 2308.00520)",
        losses.NormDKD,
        Settings({"alpha": 1.0, "beta": 8.0, "t_norm": 2.0}, 1.0, 1.0, 20, source=_NORMKD),
        Settings({"alpha": 1.0, "beta": 1.0, "t_norm": 0.5}, 1.0, 1.0, 1, source=_NORMKD),
        pairs=_normdkd_pairs(),
        unpublished=_R110_R20,
    )
)

register(
    Method(
        "lskd",
        "KD + logit standardization (LSKD), Sun et al. 2024 (arXiv 2403.01427)",
        losses.LSKD,
        Settings({"temperature": 2.0}, 0.1, 9.0, source=_LSKD),
        Settings(
            {"temperature": 2.0},
            0.1,
            9.0,
            published=False,
            source="CIFAR-100 default; the ImageNet values are lost",
        ),
        pairs={
            ("ResNet50", "MobileNetV2"): {"temperature": 3.0, "kd_weight": 1.0},
            ("resnet110", "resnet20"): {"temperature": 4.0, "kd_weight": 12.0},
            ("vgg13", "MobileNetV2"): {"temperature": 3.0},
            ("vgg13", "vgg8"): {"temperature": 3.0},
        },
        unpublished=(("resnet32x4", "ShuffleV1"), ("wrn_40_2", "ShuffleV1")),
    )
)
