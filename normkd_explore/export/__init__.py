"""A trained student as one file that runs without this package: ONNX, or PyTorch's own export format (.pt2)."""

from normkd_explore.export.export import Export, export_model, export_run
from normkd_explore.export.formats import FORMATS, Format
from normkd_explore.export.student import Deployed

__all__ = ["FORMATS", "Deployed", "Export", "Format", "export_model", "export_run"]
