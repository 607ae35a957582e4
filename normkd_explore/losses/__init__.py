"""Named distillation losses, each a temperature policy composed with a divergence.

    loss = mean over samples of  weight · divergence(z_s / T_s, z_t / T_t, target)

Every loss is called `loss(logits_student, logits_teacher, target=None)` and returns the distillation term
alone, a scalar; adding cross-entropy, and the factors of both, is the training recipe's matter. float16 and
bfloat16 logits are computed in float32, float64 stays float64. The teacher never receives a gradient. Rows with
the label -100 are left out by every loss, whether it needs labels or not, as cross-entropy leaves them out. Bad
inputs raise errors that say what to do; their values (NaN, label range) are looked at only on the CPU in
eager mode (see `normkd_explore.checks`).
"""

from normkd_explore.losses.adaptive import ATLC, CTKD, DTKD
from normkd_explore.losses.base import DistillationLoss, LogitLoss, WeightedSum
from normkd_explore.losses.classic import CE, DKD, KD
from normkd_explore.losses.dense import PerPixel, per_pixel
from normkd_explore.losses.normalized import LSKD, NormBiLD, NormDIST, NormDKD, NormKD, NormMLKD, NormRLD
from normkd_explore.losses.recent import ABKD, JSD, SKL, SRKL, TAID, WKD
from normkd_explore.losses.refined import NKD, RLD, TTM, WTTM
from normkd_explore.losses.relational import DIST, MLKD, BiLD

__all__ = [
    "LogitLoss",
    "DistillationLoss",
    "WeightedSum",
    "CE",
    "KD",
    "NormKD",
    "LSKD",
    "DKD",
    "NormDKD",
    "RLD",
    "NormRLD",
    "NKD",
    "TTM",
    "WTTM",
    "ATLC",
    "DTKD",
    "CTKD",
    "DIST",
    "NormDIST",
    "MLKD",
    "NormMLKD",
    "BiLD",
    "NormBiLD",
    "JSD",
    "SKL",
    "SRKL",
    "ABKD",
    "TAID",
    "WKD",
    "PerPixel",
    "per_pixel",
]
