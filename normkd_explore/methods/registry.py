"""The registry: a method's name, its loss, and the settings its authors published for each pair of models.

A setting that nobody published is marked `published=False`. It is a stated default, shown as such by `normkd presets`
and announced before training, never passed off as the authors' choice.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

Pair = tuple[str, str]  # (teacher, student)


@dataclass(frozen=True)
class Settings:
    """How one method is run on one pair: total = ce_weight * CE + warm-up(epoch) * kd_weight * loss."""

    loss: dict[str, Any] = field(default_factory=dict)
    """Arguments of the loss, e.g. {"t_norm": 2.0}; those left out have the default of the loss. `--set` changes any."""
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
    imagenet: Settings | None = None
    """Values for every ImageNet pair that `pairs` does not list; None: those of CIFAR-100, marked unpublished."""
    pairs: dict[Pair, dict[str, Any]] = field(default_factory=dict)
    """Changes to the data set's values for single pairs: loss arguments, or fields of `Settings`."""
    needs_teacher: bool = True
    unpublished: tuple[Pair, ...] = ()
    """Pairs that the authors' own tables leave out, for which the default is only a guess."""
    needs_features: bool = False
    """Whether `build` gives a `FeatureMethod`, which compares feature maps and not logits alone."""


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

METHODS: dict[str, Method] = {}
"""All methods under their command-line names, in the order of registration."""


def register(method: Method) -> Method:
    """Make `method` known to the command line and to recipes under its name; ValueError if the name is taken."""
    if method.name in METHODS:
        raise ValueError(
            f"method: found {method.name!r} twice, wanted a name that is not one of {', '.join(METHODS)}. "
            "Give the new method another name."
        )
    METHODS[method.name] = method
    return method


def get_method(name: str) -> Method:
    """Look a method up by its command-line name; a ValueError lists what exists."""
    if name in METHODS:
        return METHODS[name]
    close = difflib.get_close_matches(name.lower(), METHODS, n=4, cutoff=0.5)
    hint = f" Close to it: {', '.join(close)}." if close else ""
    raise ValueError(f"method: found {name!r}, wanted one of {', '.join(METHODS)}.{hint}")


def settings_for(method: str, dataset: str, teacher: str | None, student: str) -> Settings:
    """The settings of `method` for a pair, published where they exist, else the CIFAR-100 default marked as such."""
    entry = get_method(method)
    base = (entry.imagenet or _borrowed(entry)) if dataset == "imagenet" else entry.cifar100
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


def _borrowed(entry: Method) -> Settings:
    return replace(entry.cifar100, published=False, source="the CIFAR-100 values; none are known for ImageNet")
