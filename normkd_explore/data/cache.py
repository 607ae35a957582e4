"""A folder of tensors that took time to make, kept between runs and never trusted blindly.

A file is written beside its final name and moved there in one step, so an interrupted run leaves no half file; it
carries a SHA-256 of its contents, so a damaged one is noticed, reported and made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor

from normkd_explore.files.locks import one_at_a_time
from normkd_explore.files.tensors import read_tensors, write_tensors
from normkd_explore.files.writing import remove_leftovers


def cache_folder() -> Path:
    """Give the folder for cached data.

    It is ``$NORMKD_CACHE`` where that is set, else ``normkd_explore`` in ``$XDG_CACHE_HOME`` or ``~/.cache``.
    """
    if own := os.environ.get("NORMKD_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "normkd_explore"


def cached_tensors(
    kind: str, settings: Mapping[str, object], build: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Read the tensors that ``build`` makes for these settings from disk, or make and keep them.

    Args:
        kind: first part of the file name.
        settings: everything the tensors depend on, as JSON can write it; another value is another file.
        build: makes the tensors when there is no intact file.
    """
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    path = cache_folder() / f"{kind}-{key[:20]}.safetensors"
    if path.exists():
        try:
            return read_tensors(path)[0]
        except (OSError, SafetensorError, ValueError) as problem:
            warnings.warn(f"cached file {path} is damaged ({problem}); making it again", stacklevel=2)
    tensors = build()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(path.parent / "lock"):
            remove_leftovers(path.parent)
            write_tensors(path, tensors)
    except OSError as problem:
        reason = problem.__cause__ or problem  # without advice that belongs to a run folder
        warnings.warn(
            f"cannot keep data in {path} ({reason}); going on without. Set NORMKD_CACHE to a writable folder "
            "with free space to make the next start faster",
            stacklevel=2,
        )
    return tensors
