"""The registry of methods: a name, its loss, and the settings that its authors published for each pair of models.

A setting that nobody published is marked `published=False`. It is a stated default, shown as such by `normkd presets`
and announced before training, never passed off as the authors' choice.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from normkd_explore import losses

Pair = tuple[str, str]  # (teacher, student)


@dataclass(frozen=True)
class Settings:
    """How one method is run on one pair: total = ce_weight * CE + warm-up(epoch) * kd_weight * loss."""

    loss: dict[str, Any] = field(default_factory=dict)
    """Arguments of the loss, e.g. {"t_norm": 2.0}."""
    ce_weight: float = 1.0
    """Weight of the cross-entropy on the student's raw logits."""
    kd_weight: float = 1.0
    """Weight of the distillation term; 0 trains without a teacher."""
    warmup_epochs: int = 0
    """The distillation weight is multiplied by min(epoch / warmup_epochs, 1), the first epoch being 1."""
    published: bool = True
    """Whether the method's authors published these values for this pair and data set."""
    source: str = ""
    """Where the values stand, or why they are only a default."""


@dataclass(frozen=True)
class Method:
    """A distillation method under its command-line name."""

    name: str
    title: str
    build: Callable[..., nn.Module]
    cifar100: Settings
    """Values for every CIFAR-100 pair that `pairs` does not list."""
    imagenet: Settings
    """Values for every ImageNet pair that `pairs` does not list."""
    pairs: dict[Pair, dict[str, Any]] = field(default_factory=dict)
    """Changes to the data set's values for single pairs: loss arguments, or fields of `Settings`."""
    needs_teacher: bool = True
    unpublished: tuple[Pair, ...] = ()
    """Pairs that the authors' own tables leave out, for which the default is only a guess."""


NORMKD_PAIRS: tuple[Pair, ...] = (
    ("resnet56", "resnet20"),
    ("resnet110", "resnet32"),
    ("resnet32x4", "resnet8x4"),
    ("wrn_40_2", "wrn_16_2"),
    ("wrn_40_2", "wrn_40_1"),
    ("vgg13", "vgg8"),
    ("resnet32x4", "ShuffleV1"),
    ("resnet32x4", "ShuffleV2"),
    ("wrn_40_2", "ShuffleV1"),
    ("vgg13", "MobileNetV2"),
    ("ResNet50", "MobileNetV2"),
)
"""The 11 CIFAR-100 pairs that have a configuration file in the NormKD repository (gizi1/NormKD)."""

CIFAR100_PAIRS: tuple[Pair, ...] = (*NORMKD_PAIRS, ("resnet110", "resnet20"))
IMAGENET_PAIRS: tuple[Pair, ...] = (("resnet34", "resnet18"), ("resnet50", "mobilenetv1"))
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


_ALL = (
    Method(
        "ce",
        "Cross-entropy alone, no teacher",
        losses.CE,
        Settings(kd_weight=0.0, source="the same recipe without a teacher"),
        Settings(kd_weight=0.0, source="the same recipe without a teacher"),
        needs_teacher=False,
    ),
    Method(
        "kd",
        "KD, Hinton et al. 2015 (arXiv 1503.02531)",
        losses.KD,
        Settings({"temperature": 4.0}, 0.1, 0.9, source=_MDISTILLER),
        Settings({"temperature": 1.0}, 0.5, 0.5, source=_MDISTILLER),
    ),
    Method(
        "normkd",
        "NormKD, Chi et al. 2023 (arXiv 2308.00520)",
        losses.NormKD,
        Settings({"t_norm": 2.0}, 0.1, 0.9, source=_NORMKD),
        Settings({"t_norm": 1.0}, 0.5, 0.5, source=_NORMKD),
        unpublished=_R110_R20,
    ),
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
    ),
    Method(
        "normdkd",
        "NormKD + DKD, Chi et al. 2023 (arXiv 2308.00520)",
        losses.NormDKD,
        Settings({"alpha": 1.0, "beta": 8.0, "t_norm": 2.0}, 1.0, 1.0, 20, source=_NORMKD),
        Settings({"alpha": 1.0, "beta": 1.0, "t_norm": 0.5}, 1.0, 1.0, 1, source=_NORMKD),
        pairs=_normdkd_pairs(),
        unpublished=_R110_R20,
    ),
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
    ),
)

METHODS: dict[str, Method] = {method.name: method for method in _ALL}


def get_method(name: str) -> Method:
    """Look a method up by its command-line name; a ValueError lists what exists."""
    if name in METHODS:
        return METHODS[name]
    close = difflib.get_close_matches(name, METHODS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"method: found {name!r}, wanted one of {', '.join(METHODS)}.{hint}")


def settings_for(method: str, dataset: str, teacher: str | None, student: str) -> Settings:
    """The settings of `method` for a pair, published where they exist, else the CIFAR-100 default marked as such."""
    entry = get_method(method)
    base = entry.imagenet if dataset == "imagenet" else entry.cifar100
    known = IMAGENET_PAIRS if dataset == "imagenet" else CIFAR100_PAIRS
    pair = (teacher or "", student)
    if dataset not in ("cifar100", "imagenet") or pair not in known:
        if not entry.needs_teacher:
            return base
        return replace(base, published=False, source=f"default of {entry.name}; nobody published values for this pair")
    if pair in entry.unpublished:
        return replace(
            base, published=False, source=f"default of {entry.name}; its authors list no values for this pair"
        )
    changes = entry.pairs.get(pair, {})
    fields = {key: value for key, value in changes.items() if key in Settings.__dataclass_fields__}
    arguments = {key: value for key, value in changes.items() if key not in fields}
    return replace(base, loss={**base.loss, **arguments}, **fields)
