"""Measurements on models and logits: tensors in, numpy arrays out. Nothing here draws."""

from normkd_explore.analysis.logits import model_logits, pictures, spread_index
from normkd_explore.analysis.softening import Softened, methods_at, soften

__all__ = ["Softened", "methods_at", "model_logits", "pictures", "soften", "spread_index"]
