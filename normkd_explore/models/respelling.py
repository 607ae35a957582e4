"""Published CIFAR ResNets under other spellings of the same arithmetic.

Copies of one network differ in what its classifier and its shortcuts are called, and some have shortcuts without
parameters: every second pixel, and zeros for the new channels (option A of He et al. 2015, arXiv 1512.03385, 3.3).
"""

import warnings
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor

SPELLINGS = (("linear", "fc"), ("fc", "linear"), ("shortcut", "downsample"), ("downsample", "shortcut"))
SHORTCUTS = ("downsample", "shortcut")
EPSILON = 1e-5  # of nn.BatchNorm2d


def fitted(state: dict[str, Tensor], own: Mapping[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    """The tensors of a file under the names of a network, with projections for shortcuts that need none.

    Args:
        state: tensors of the file.
        own: the network's state dict.
        path: the file, for what is said about it.
    """
    names = respelled(state, own)
    return _with_projections({names[key]: value for key, value in state.items()}, own, path)


def respelled(names: Collection[str], own: Collection[str]) -> dict[str, str]:
    """What each name of a file is called in a network that spells classifier or shortcuts otherwise."""
    theirs, ours = _words(names), _words(own)
    renamed = {a: b for a, b in SPELLINGS if a in theirs - ours and b in ours - theirs}
    return {name: ".".join(renamed.get(word, word) for word in name.split(".")) for name in names}


def _words(names: Collection[str]) -> set[str]:
    return {word for name in names for word in name.split(".")}


def _with_projections(state: dict[str, Tensor], own: Mapping[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    """Adds 1x1 projections that do what shortcuts without parameters do, where these are all that a file lacks."""
    shortcuts = [key for key in own if not _words([key]).isdisjoint(SHORTCUTS)]
    if not shortcuts or any(key in state for key in shortcuts) or not own.keys() <= {*state, *shortcuts}:
        return state
    found = {key: _neutral(key, own[key]) for key in shortcuts}
    added = {key: value for key, value in found.items() if value is not None}
    if len(added) < len(found):
        return state
    warnings.warn(
        f"{path} has no tensors for the shortcuts, as networks have whose shortcuts take every second pixel and add "
        "channels of zeros, half before and half behind (option A). In evaluation the loaded network computes exactly "
        "that; training would change it.",
        stacklevel=4,
    )
    return {**state, **added}


def _neutral(key: str, own: Tensor) -> Tensor | None:
    """A tensor of a shortcut that copies channels and does nothing else; None for one of another kind."""
    if own.ndim == 4 and own.shape[2:] == (1, 1) and own.shape[0] >= own.shape[1]:
        width_out, width_in = own.shape[:2]
        before = (width_out - width_in) // 2
        copying = torch.zeros(own.shape)
        copying[torch.arange(width_in) + before, torch.arange(width_in)] = 1
        return copying
    plain = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1 - EPSILON, "num_batches_tracked": 0}
    value = plain.get(key.rpartition(".")[2]) if own.ndim < 2 else None
    return None if value is None else torch.full_like(own, value, device="cpu")
