"""How Fabric wraps a model under torchrun."""

from __future__ import annotations

from lightning_fabric.strategies import DDPStrategy
from torch.nn import Module
from torch.nn.parallel import DistributedDataParallel


class InThisStream(DDPStrategy):
    """DDP made in the stream in which the model is trained.

    Lightning makes it in a side stream, as CUDA graphs want it. PyTorch then finds gradients on another stream than
    the parameters', waits for it at each step, and warns.
    """

    def setup_module(self, module: Module) -> DistributedDataParallel:
        """The model in PyTorch's DistributedDataParallel."""
        return DistributedDataParallel(module, device_ids=self._determine_ddp_device_ids(), **self._ddp_kwargs)
