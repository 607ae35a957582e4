"""The neighbours of NormKD, and their forms with NormKD's temperatures, with what is known of their settings."""

from __future__ import annotations

from typing import Any

from normkd_explore import losses
from normkd_explore.methods.registry import Method, Pair, Settings, register
from normkd_explore.temperature.maximum import PEAK_FACTOR

_RLD = "RLD configuration (zju-SWJ/RLD); the paper tunes alpha for every pair"
_DTKD = "DTKD configuration (JinYu1998/DTKD)"
_CTKD = "the authors' CIFAR-100 script (zhengli97/CTKD)"
_NKD = "NKD configuration (yzd-v/cls_KD)"
_OURS = "combination made here, with the weights of {} and NormKD's T_norm; nobody published values"


def _guess(loss: dict[str, Any], ce: float, kd: float, source: str, warmup: int = 0) -> Settings:
    return Settings(loss, ce, kd, warmup, published=False, source=source)


_DTKD_PAIRS: dict[Pair, dict[str, Any]] = {
    ("resnet56", "resnet20"): {"alpha": 1.0, "beta": 0.5},
    ("resnet110", "resnet32"): {"alpha": 1.0, "beta": 0.5},
    ("wrn_40_2", "wrn_40_1"): {"alpha": 1.0, "beta": 0.5},
    ("wrn_40_2", "ShuffleV1"): {"alpha": 2.0, "beta": 0.5},
    ("ResNet50", "MobileNetV2"): {"beta": 2.0},
}

register(
    Method(
        "rld",
        "RLD, Sun et al. 2025 (arXiv 2408.07703)",
        losses.RLD,
        Settings(
            {"alpha": 1.0, "beta": 8.0, "temperature": 4.0, "confidence_temperature": 1.0}, 1.0, 1.0, 20, source=_RLD
        ),
        Settings(
            {"alpha": 1.0, "beta": 0.5, "temperature": 1.0, "confidence_temperature": 1.0}, 1.0, 1.0, 1, source=_RLD
        ),
        pairs={("resnet50", "mobilenetv1"): {"beta": 2.0}},
        unpublished=(("resnet32x4", "ShuffleV1"), ("wrn_40_2", "ShuffleV1")),
    )
)
register(
    Method(
        "atlc",
        "ATLC, Matsuyama et al. 2025 (arXiv 2503.09030)",
        losses.ATLC,
        _guess({"factor": PEAK_FACTOR}, 0.1, 9.0, "the authors' one example command (kei813121/atkd)"),
    )
)
register(
    Method(
        "dtkd",
        "DTKD, Wei and Bai 2024 (arXiv 2404.12711)",
        losses.DTKD,
        Settings({"temperature": 4.0, "alpha": 3.0, "beta": 1.0}, 1.0, 1.0, 20, source=_DTKD),
        pairs=_DTKD_PAIRS,
        unpublished=(("resnet110", "resnet20"),),
    )
)
register(
    Method(
        "ctkd",
        "CTKD, Li et al. 2023 (arXiv 2211.16231)",
        losses.CTKD,
        _guess({"start": 1.0, "end": 20.0, "ramp": 10.0}, 0.1, 0.9, f"{_CTKD}, which shows one pair"),
        _guess(
            {"start": 1.0, "end": 20.0, "ramp": 5.0},
            1.0,
            1.0,
            "the authors' ImageNet script (zhengli97/CTKD), there with batch 256 and 120 epochs",
        ),
        pairs={("resnet56", "resnet20"): {"published": True, "source": _CTKD}},
    )
)
register(
    Method(
        "dist",
        "DIST, Huang et al. 2022 (arXiv 2205.10536)",
        losses.DIST,
        _guess({"beta": 1.0, "gamma": 1.0, "temperature": 1.0}, 1.0, 1.0, "defaults of the published loss alone"),
    )
)
register(
    Method(
        "mlkd",
        "MLKD on one view, CVPR 2023",
        losses.MLKD,
        _guess(
            {"temperature": 4.0},
            0.1,
            0.9,
            "the authors' weights, which go with a second, strongly augmented view that is not used here",
        ),
    )
)
register(
    Method(
        "ttm",
        "TTM, Zheng and Yang 2024 (arXiv 2402.11148)",
        losses.TTM,
        _guess({"exponent": 0.1}, 1.0, 45.0, "the authors' values for vgg13 > vgg8 (zkxufo/TTM); tuned for every pair"),
        pairs={("vgg13", "vgg8"): {"published": True, "source": "the authors' README (zkxufo/TTM)"}},
    )
)
register(
    Method(
        "wttm",
        "WTTM, Zheng and Yang 2024 (arXiv 2402.11148)",
        losses.WTTM,
        _guess(
            {"exponent": 0.2}, 1.0, 4.0, "the authors' example together with CRD (zkxufo/TTM); tuned for every pair"
        ),
    )
)
register(
    Method(
        "nkd",
        "NKD, Yang et al. 2023 (arXiv 2303.13005)",
        losses.NKD,
        _guess({"gamma": 3.5, "temperature": 3.0}, 1.0, 1.0, f"{_NKD} for another CIFAR-100 pair, ResNet34 > ResNet18"),
        Settings({"gamma": 1.5, "temperature": 1.0}, 1.0, 1.0, source=_NKD),
    )
)
register(
    Method(
        "bild",
        "BiLD, Li et al. 2025 (arXiv 2406.13555)",
        losses.BiLD,
        _guess({"k": 8, "temperature": 3.0}, 1.0, 1.0, "the authors' loss for language models; no values for images"),
    )
)
register(
    Method(
        "normrld",
        "RLD with NormKD's temperatures",
        losses.NormRLD,
        _guess({"alpha": 1.0, "beta": 8.0, "t_norm": 2.0}, 1.0, 1.0, _OURS.format("RLD"), 20),
    )
)
register(
    Method(
        "normmlkd",
        "MLKD on one view with NormKD's temperatures",
        losses.NormMLKD,
        _guess({"t_norm": 2.0}, 0.1, 0.9, _OURS.format("MLKD")),
    )
)
register(
    Method(
        "normdist",
        "DIST with NormKD's temperatures",
        losses.NormDIST,
        _guess({"beta": 1.0, "gamma": 1.0, "t_norm": 2.0}, 1.0, 1.0, _OURS.format("DIST")),
    )
)
register(
    Method(
        "normbild",
        "BiLD with NormKD's temperatures",
        losses.NormBiLD,
        _guess({"k": 8, "t_norm": 2.0}, 1.0, 1.0, _OURS.format("BiLD")),
    )
)
