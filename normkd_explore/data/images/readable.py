"""Whether image files can be read, asked before anybody depends on them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from normkd_explore.data.dataset import FileSplit
from normkd_explore.data.images.files import some_of
from normkd_explore.data.read import read_rgb


def require_readable(split: FileSplit, name: str) -> None:
    """Read every image of a split once.

    Raises:
        ValueError: some cannot be read; the message counts and names them.
    """

    def problem(position: int) -> str | None:
        try:
            read_rgb(split.path(position))
        except (ValueError, OSError) as error:
            return str(error)
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        damaged = sorted(filter(None, pool.map(problem, range(len(split)))))
    if damaged:
        raise ValueError(f"{name}: {len(damaged):,} of {len(split):,} images are damaged: {some_of(damaged)}")
