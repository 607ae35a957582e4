"""Which temperature and weights for *my* pair? A search over short runs, and how far its answer can be trusted.

tuned = tune(get_preset("glyphs/resnet20-resnet8", "normkd"), out="runs/tuned")
train(replace(recipe, settings=tuned.settings), ...)
"""

from normkd_explore.tuning.plan import Plan
from normkd_explore.tuning.result import Tuned
from normkd_explore.tuning.space import Space
from normkd_explore.tuning.tune import tune

__all__ = ["Plan", "Space", "Tuned", "tune"]
