"""Temperature policies: how softly to read the student's and the teacher's logits, sample by sample.

A policy maps both logit tensors to a `Softening`: the divisor of each row for student and teacher, and the
weight of the sample's divergence. Policies know nothing of divergences, so every policy works with every
divergence.
"""

from normkd_explore.temperature.base import Softening, TemperaturePolicy, tell_epoch
from normkd_explore.temperature.constant import Constant, Unweighted
from normkd_explore.temperature.learned import Learned
from normkd_explore.temperature.maximum import MaxLogit, MaxRatio
from normkd_explore.temperature.spread import Std, row_std

__all__ = [
    "Softening",
    "TemperaturePolicy",
    "tell_epoch",
    "Constant",
    "Unweighted",
    "Std",
    "row_std",
    "MaxLogit",
    "MaxRatio",
    "Learned",
]
