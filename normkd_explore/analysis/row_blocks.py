"""Row by row through a large table of logits: float64 for a few rows at a time, never a second table.

Legend: N samples, C classes, B rows of a block, K numbers of a row.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BLOCK_VALUES = 1 << 16  # 0.5 MB in float64; the memory of much larger blocks was not always given back between two


def by_rows(measure: Callable[..., Tensor], table_NC: Tensor, *beside: Tensor) -> Tensor:
    """`measure(block_BC, ...)` of one block of rows after the other, joined: (N,) or (N, K).

    Args:
        measure: gives one number a row, (B,), or K of them, (B, K); each row's depend on that row alone.
        table_NC: any numeric dtype; blocks arrive in float64.
        beside: further tensors with N rows, cut into the same blocks.
    """
    rows = max(1, BLOCK_VALUES // max(1, table_NC.shape[1]))
    blocks = zip(*(tensor.split(rows) for tensor in (table_NC, *beside)), strict=True)
    return torch.cat([measure(block_BC.double(), *others) for block_BC, *others in blocks])


def chosen_rows(table_NC: Tensor, wanted_N: Tensor) -> Tensor:
    """The rows where the mask is True; the table itself, not a copy, where that is all of them."""
    return table_NC if bool(wanted_N.all()) else table_NC[wanted_N]
