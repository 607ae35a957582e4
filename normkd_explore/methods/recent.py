"""Divergences of 2024 and 2025. Their authors give values for language models, or other costs than here."""

from __future__ import annotations

from typing import Any

from normkd_explore import losses
from normkd_explore.methods.registry import Method, Settings, register

_WORDS = "KD's temperature and weights; {} of its authors, who train language models"


def _guess(loss: dict[str, Any], source: str, ce: float = 0.1, kd: float = 0.9) -> Settings:
    return Settings(loss, ce, kd, published=False, source=source)


register(
    Method(
        "jsd",
        "Generalised JSD, Agarwal et al. 2024 (arXiv 2306.13649)",
        losses.JSD,
        _guess(
            {"beta": 0.5, "temperature": 4.0},
            "KD's temperature and weights, and a mixture of equal shares; its authors train language models",
        ),
    )
)
register(
    Method(
        "skl",
        "Skew KL (DistiLLM), Ko et al. 2024 (arXiv 2402.03898)",
        losses.SKL,
        _guess({"skew": 0.1, "temperature": 4.0}, _WORDS.format("the skew")),
    )
)
register(
    Method(
        "srkl",
        "Skew reverse KL (DistiLLM), Ko et al. 2024 (arXiv 2402.03898)",
        losses.SRKL,
        _guess({"skew": 0.1, "temperature": 4.0}, _WORDS.format("the skew")),
    )
)
register(
    Method(
        "abkd",
        "Alpha-beta divergence (ABKD), Wang et al. 2025 (arXiv 2505.04560)",
        losses.ABKD,
        # Their weight is 32 without a factor T²: 2 with it at T = 4.
        _guess(
            {"alpha": 0.8, "beta": 0.3, "temperature": 4.0},
            "the authors' example for resnet56 > resnet20 (ghwang-s/abkd); it states no T and no CE weight",
            ce=1.0,
            kd=2.0,
        ),
    )
)
register(
    Method(
        "taid",
        "TAID, Shing et al. 2025 (arXiv 2501.16937)",
        losses.TAID,
        _guess(
            {"start": 0.4, "end": 1.0, "pace": 5e-4, "momentum": 0.99, "temperature": 4.0},
            _WORDS.format("the schedule"),
        ),
    )
)
register(
    Method(
        "wkd",
        "WKD-L, Lv et al. 2024 (arXiv 2412.08139), costs from the teacher's classifier",
        losses.WKD,
        _guess(
            {"gamma": 600.0, "temperature": 8.0, "blur": 0.05, "iterations": 10, "decay_after": 0.625},
            "the authors' values (JiamingLv/WKD), there with costs from the alignment of features",
            ce=1.0,
            kd=1.0,
        ),
    )
)
