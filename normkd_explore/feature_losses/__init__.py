"""Losses on feature maps and pooled features: the baselines that logit distillation is compared with.

Every loss is an `nn.Module` on plain tensors and returns the distillation term alone, a scalar. float16 and bfloat16
are computed in float32. The teacher never receives a gradient. Adapters between networks of different widths are part
of the loss: their parameters belong in the student's optimiser.

    fitnet = FitNet(Regressor((16, 32, 32), (64, 32, 32)))
    loss = fitnet(features_s.stages[1], features_t.stages[1])

`couple` puts a loss between two networks in training; `normkd_explore.methods.features` gives it its name and weights.
"""

from normkd_explore.feature_losses.attention import AT
from normkd_explore.feature_losses.contrastive import CRD
from normkd_explore.feature_losses.couple import Couple, FeatureMethod, FeatureShapes, Observation, introduce
from normkd_explore.feature_losses.hint import FitNet, Regressor
from normkd_explore.feature_losses.overhaul import OFD, RARE, negative_mean, norms_before_relu
from normkd_explore.feature_losses.relations import PKT, RKD, SP
from normkd_explore.feature_losses.review import ReviewKD
from normkd_explore.feature_losses.scales import SDD, Head, MultiScale, cell_logits, check_scales, find_head
from normkd_explore.feature_losses.selectivity import NST
from normkd_explore.feature_losses.variational import VID

__all__ = [
    "FitNet",
    "Regressor",
    "AT",
    "RKD",
    "SP",
    "PKT",
    "NST",
    "VID",
    "CRD",
    "ReviewKD",
    "OFD",
    "RARE",
    "negative_mean",
    "norms_before_relu",
    "SDD",
    "MultiScale",
    "Head",
    "find_head",
    "cell_logits",
    "check_scales",
    "FeatureMethod",
    "FeatureShapes",
    "Couple",
    "Observation",
    "introduce",
]
