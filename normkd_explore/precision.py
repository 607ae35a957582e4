"""Losses are computed in float32 at least, whatever the networks around them use.

Under autocast, matrix products and convolutions would round to half precision, where the distance of two near values
is lost, and a float16 gradient would overflow or vanish before it is of any use.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any

import torch
from torch import Tensor


def in_full_precision(*tensors: Tensor) -> tuple[Tensor, ...]:
    """float64 if one of them is, else float32."""
    dtype = torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32
    return tuple(tensor.to(dtype) for tensor in tensors)


def without_autocast(like: Tensor) -> AbstractContextManager[None]:
    """No autocast inside, on the device of `like`."""
    device = like.device.type
    on = device != "meta" and torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if on else nullcontext()


def ignores_autocast(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function, or a module's `forward`, that runs without autocast on the device of its first tensor."""

    @wraps(function)
    def run(*arguments: Any, **named: Any) -> Any:
        first = _first_tensor([*arguments, *named.values()])
        if first is None:  # the function itself says what is wrong with its arguments
            return function(*arguments, **named)
        with without_autocast(first):
            return function(*arguments, **named)

    return run


def _first_tensor(values: Any) -> Tensor | None:
    for value in values:
        found = _first_tensor(value) if isinstance(value, list | tuple) else value
        if isinstance(found, Tensor):
            return found
    return None
