"""Measurements on logits: tensors in, numpy arrays out. Nothing here draws."""

from normkd_explore.analysis.softening import Softened, methods_at, soften

__all__ = ["Softened", "methods_at", "soften"]
