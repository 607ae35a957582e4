"""Feature baselines: where each one looks in the two networks, and the weights it is run with.

Unless their source says otherwise, weights are those of the field's comparisons, RepDistiller
(HobbitLong/RepDistiller) and mdistiller (megvii-research/mdistiller): cross-entropy has the weight 1, and no KD term
is added.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from normkd_explore import feature_losses as fl
from normkd_explore import losses
from normkd_explore.feature_losses import FeatureMethod
from normkd_explore.methods.registry import Method, Pair, Settings, register
from normkd_explore.models import Features

_FIELD = "one weight for all pairs in RepDistiller and mdistiller"
_MDISTILLER = "mdistiller configuration (megvii-research/mdistiller)"
_BATCH_256 = "mdistiller's weight for this pair, there with batch 256 and learning rate 0.1"
_OFD = "the weight of the authors (clovaai/overhaul-distillation) and of mdistiller, {}"
_SDD = "the authors' loss (shicaiwei123/SDD-CVPR2024); of their files with weights few were read, so those of {}"


def _whole(name: str, value: float, low: int, high: int | None = None) -> int:
    if value != int(value) or value < low or (high is not None and value > high):
        wanted = f"from {low} to {high}" if high is not None else f"of at least {low}"
        raise ValueError(f"{name}: found {value:g}, wanted a whole number {wanted}.")
    return int(value)


def fitnet(hint: float = 2.0) -> FeatureMethod:
    """FitNet at place `hint`: 0 is the stem, 1 the first stage."""

    def make(couple: fl.Couple) -> fl.FitNet:
        at = _whole("hint", hint, 0, min(len(couple.student.stages), len(couple.teacher.stages)) - 1)
        return fl.FitNet(fl.Regressor(couple.student.stages[at], couple.teacher.stages[at]))

    return FeatureMethod(make, lambda seen: (seen.student.stages[int(hint)], seen.teacher.stages[int(hint)]))


def _stages(seen: fl.Observation) -> tuple[Any, ...]:
    return seen.student.stages[1:], seen.teacher.stages[1:]


def _last_stage(seen: fl.Observation) -> tuple[Any, ...]:
    return seen.student.stages[-1], seen.teacher.stages[-1]


def _pooled(seen: fl.Observation) -> tuple[Any, ...]:
    return seen.student.pooled, seen.teacher.pooled


def at(power: float = 2.0) -> FeatureMethod:
    """AT over all stages but the stem."""
    return FeatureMethod(lambda couple: fl.AT(power), _stages)


def rkd(distance: float = 25.0, angle: float = 50.0) -> FeatureMethod:
    """RKD on the pooled features."""
    return FeatureMethod(lambda couple: fl.RKD(distance, angle), _pooled)


def sp() -> FeatureMethod:
    """SP on the last stage."""
    return FeatureMethod(lambda couple: fl.SP(), _last_stage)


def pkt() -> FeatureMethod:
    """PKT on the pooled features."""
    return FeatureMethod(lambda couple: fl.PKT(), _pooled)


def nst() -> FeatureMethod:
    """NST over all stages but the stem."""
    return FeatureMethod(lambda couple: fl.NST(), _stages)


def vid(variance: float = 5.0) -> FeatureMethod:
    """VID over all stages but the stem."""

    def make(couple: fl.Couple) -> fl.VID:
        widths_s, widths_t = ([shape[0] for shape in side.stages[1:]] for side in (couple.student, couple.teacher))
        return fl.VID(widths_s, widths_t, variance)

    return FeatureMethod(make, _stages)


def crd(
    embedding: float = 128, negatives: float = 16384, temperature: float = 0.07, momentum: float = 0.5
) -> FeatureMethod:
    """CRD on the pooled features, with banks for the training split."""
    sizes = _whole("embedding", embedding, 1), _whole("negatives", negatives, 1)

    def make(couple: fl.Couple) -> fl.CRD:
        widths = couple.student.pooled, couple.teacher.pooled
        return fl.CRD(*widths, couple.labels_N, *sizes, temperature, momentum)

    return FeatureMethod(make, lambda seen: (*_pooled(seen), seen.index_B))


def reviewkd(middle: float = 512) -> FeatureMethod:
    """ReviewKD over all stages but the stem, and the pooled features; of the teacher, what comes before the ReLU."""
    middle = _whole("middle", middle, 1)

    def make(couple: fl.Couple) -> fl.ReviewKD:
        shapes_s = [*couple.student.stages[1:], (couple.student.pooled, 1, 1)]
        shapes_t = [*(couple.teacher.pre_activation or couple.teacher.stages)[1:], (couple.teacher.pooled, 1, 1)]
        return fl.ReviewKD(shapes_s, shapes_t, middle)

    def pick(seen: fl.Observation) -> tuple[Any, ...]:
        maps_t = (seen.teacher.pre_activation or seen.teacher.stages)[1:]
        student, teacher = (side.pooled[..., None, None] for side in (seen.student, seen.teacher))
        return [*seen.student.stages[1:], student], [*maps_t, teacher]

    return FeatureMethod(make, pick)


def ofd(rare: float = fl.RARE) -> FeatureMethod:
    """OFD over all stages but the stem, both networks before the ReLU; `rare` as in `negative_mean`."""

    def make(couple: fl.Couple) -> fl.OFD:
        sides = zip(("student", "teacher"), couple.models, (couple.student, couple.teacher), strict=True)
        for name, model, shapes in sides:
            if shapes.pre_activation is None:
                raise ValueError(
                    f"{name}: found {type(model).__name__}, which hands out no pre-activations, and OFD compares "
                    "what comes before the ReLU. Take another network, or another method, e.g. at or reviewkd."
                )
        margins = [fl.negative_mean(norm, rare) for norm in fl.norms_before_relu(couple.models[1])[1:]]
        return fl.OFD([width for width, _, _ in _pre_activations(couple.student)], margins)

    return FeatureMethod(make, lambda seen: (_pre_activations(seen.student), _pre_activations(seen.teacher)))


def _pre_activations(of: Features | fl.FeatureShapes) -> tuple[Any, ...]:
    """Those of the stages; `ofd` has refused networks without."""
    assert of.pre_activation is not None
    return of.pre_activation[1:]


def _sdd(base: losses.LogitLoss, grid: float, average: bool) -> FeatureMethod:
    scales = tuple(2**power for power in range(_whole("grid", grid, 1).bit_length()))

    def make(couple: fl.Couple) -> fl.MultiScale:
        heads = [fl.find_head(model, couple.image_size) for model in couple.models]
        for side in (couple.student, couple.teacher):
            fl.check_scales(scales, *side.last_map[1:])
        return fl.MultiScale(fl.SDD(base, average), heads, scales)

    return FeatureMethod(make, lambda seen: (seen.student, seen.teacher, seen.labels_B))


def sdd(temperature: float = 4.0, grid: float = 2) -> FeatureMethod:
    """SDD over KD, with grids of 1, 2, 4 ... up to `grid` cells along each side."""
    return _sdd(losses.KD(temperature), grid, average=True)


def sdd_dkd(alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0, grid: float = 2) -> FeatureMethod:
    """SDD over DKD, summed over the cells."""
    return _sdd(losses.DKD(alpha, beta, temperature), grid, average=False)


def sdd_normkd(t_norm: float = 2.0, grid: float = 2) -> FeatureMethod:
    """SDD over NormKD: every cell has the temperature of its own logits."""
    return _sdd(losses.NormKD(t_norm), grid, average=True)


def _register(
    name: str,
    title: str,
    build: Callable[..., FeatureMethod],
    cifar100: Settings,
    imagenet: Settings | None = None,
    pairs: dict[Pair, dict[str, Any]] | None = None,
) -> None:
    register(Method(name, title, build, cifar100, imagenet, pairs or {}, needs_features=True))


def _guess(loss: dict[str, Any], ce: float, kd: float, source: str, warmup: int = 0) -> Settings:
    return Settings(loss, ce, kd, warmup, published=False, source=source)


_register(
    "fitnet",
    "FitNet, Romero et al. 2015 (arXiv 1412.6550)",
    fitnet,
    Settings({"hint": 2.0}, 1.0, 100.0, source=_FIELD),
)
_register(
    "at",
    "AT, Zagoruyko and Komodakis 2017 (arXiv 1612.03928)",
    at,
    Settings({"power": 2.0}, 1.0, 1000.0, source=_FIELD),
    Settings({"power": 2.0}, 1.0, 1000.0, source=_MDISTILLER),
)
_register(
    "rkd",
    "RKD, Park et al. 2019 (arXiv 1904.05068)",
    rkd,
    Settings({"distance": 25.0, "angle": 50.0}, 1.0, 1.0, source=_FIELD),
)
_register("sp", "SP, Tung and Mori 2019 (arXiv 1907.09682)", sp, Settings({}, 1.0, 3000.0, source=_FIELD))
_register("pkt", "PKT, Passalis and Tefas 2018 (arXiv 1803.10837)", pkt, Settings({}, 1.0, 30000.0, source=_FIELD))
_register("nst", "NST, Huang and Wang 2017 (arXiv 1707.01219)", nst, Settings({}, 1.0, 50.0, source=_FIELD))
_register("vid", "VID, Ahn et al. 2019 (arXiv 1904.05835)", vid, Settings({"variance": 5.0}, 1.0, 1.0, source=_FIELD))
_CRD = {"embedding": 128, "negatives": 16384, "temperature": 0.07, "momentum": 0.5}
_register(
    "crd",
    "CRD, Tian et al. 2020 (arXiv 1910.10699)",
    crd,
    Settings(_CRD, 1.0, 0.8, source=_FIELD),
    _guess(_CRD, 1.0, 0.8, _BATCH_256),
)
_register(
    "reviewkd",
    "ReviewKD, Chen et al. 2021 (arXiv 2104.09044)",
    reviewkd,
    _guess({"middle": 512}, 1.0, 1.0, "mdistiller's default, which it changes for a pair", 20),
    _guess({"middle": 512}, 1.0, 1.0, _BATCH_256, 1),
    {
        ("resnet32x4", "resnet8x4"): {"kd_weight": 5.0, "published": True, "source": _MDISTILLER},
        ("resnet50", "mobilenetv1"): {"kd_weight": 8.0},
    },
)
_register(
    "ofd",
    "OFD, Heo et al. 2019 (arXiv 1904.01866)",
    ofd,
    _guess({"rare": fl.RARE}, 1.0, 1e-3, _OFD.format("not verified for this pair")),
    _guess({"rare": fl.RARE}, 1.0, 1e-4, _OFD.format("there with batches of 256 and 128")),
    {("resnet32x4", "resnet8x4"): {"published": True, "source": _MDISTILLER}},
)
_register(
    "sdd",
    "SDD with KD, CVPR 2024 (arXiv 2403.13512)",
    sdd,
    _guess({"temperature": 4.0, "grid": 2}, 0.1, 0.9, _SDD.format("KD")),
)
_register(
    "sdddkd",
    "SDD with DKD, CVPR 2024 (arXiv 2403.13512)",
    sdd_dkd,
    _guess({"alpha": 1.0, "beta": 8.0, "temperature": 4.0, "grid": 2}, 1.0, 1.0, _SDD.format("DKD"), 20),
)
_register(
    "sddnormkd",
    "SDD with NormKD's temperatures",
    sdd_normkd,
    _guess({"t_norm": 2.0, "grid": 2}, 0.1, 0.9, "combination made here, weights of NormKD; nobody published values"),
)
