"""Networks inside the wrappers of torch.compile, data parallelism and Fabric."""

from torch import nn


def bare(model: nn.Module) -> nn.Module:
    """The network itself."""
    while isinstance(inner := getattr(model, "_orig_mod", getattr(model, "module", None)), nn.Module):
        model = inner
    return model
