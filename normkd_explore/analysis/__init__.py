"""Measurements on models and logits: tensors in, numpy arrays out. Nothing here draws."""

from normkd_explore.analysis.logits import model_logits, pictures, spread_index
from normkd_explore.analysis.softening import Softened, methods_at, soften
from normkd_explore.analysis.softness import effective_classes, extreme_pair

__all__ = [
    "Softened",
    "effective_classes",
    "extreme_pair",
    "methods_at",
    "model_logits",
    "pictures",
    "soften",
    "spread_index",
]
