"""Divergences: how far the student's softened prediction is from the teacher's, sample by sample.

A divergence takes logits that are already divided by their temperatures, so it knows nothing of temperature
policies. Those that compare logarithms work on log-probabilities: none is the log of a probability that could
underflow to 0.
"""

from normkd_explore.divergence.base import Divergence, kl_B, tell_step, tell_teacher
from normkd_explore.divergence.decoupled import Decoupled, Normalized, split_at_target
from normkd_explore.divergence.differences import Differences
from normkd_explore.divergence.interpolated import Interpolated
from normkd_explore.divergence.kl import KL, PowerTransformed, ReverseKL
from normkd_explore.divergence.mixtures import JensenShannon, SkewKL, SkewReverseKL
from normkd_explore.divergence.powers import AlphaBeta
from normkd_explore.divergence.refined import Refined
from normkd_explore.divergence.relational import Correlation, GramMatrices, batch_gram_B, class_gram, gram_distances
from normkd_explore.divergence.transport import Transport, class_distances

__all__ = [
    "Divergence",
    "kl_B",
    "tell_step",
    "tell_teacher",
    "KL",
    "ReverseKL",
    "PowerTransformed",
    "Decoupled",
    "Normalized",
    "split_at_target",
    "Refined",
    "Correlation",
    "GramMatrices",
    "class_gram",
    "batch_gram_B",
    "gram_distances",
    "Differences",
    "JensenShannon",
    "SkewKL",
    "SkewReverseKL",
    "AlphaBeta",
    "Interpolated",
    "Transport",
    "class_distances",
]
