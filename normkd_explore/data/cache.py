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

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

CHECKSUM = "sha256"


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
            return read_checked(path)
        except (OSError, SafetensorError, ValueError) as problem:
            warnings.warn(f"cached file {path} is damaged ({problem}); making it again", stacklevel=2)
    tensors = build()
    try:
        write_checked(path, tensors)
    except OSError as problem:
        warnings.warn(
            f"cannot keep data in {path} ({problem}); going on without. Set NORMKD_CACHE to a writable folder "
            "with free space to make the next start faster",
            stacklevel=2,
        )
    return tensors


def read_checked(path: Path) -> dict[str, Tensor]:
    """Read a file written by :func:`write_checked`.

    Raises:
        ValueError: when the contents are not those that were written.
    """
    with safe_open(path, framework="pt") as file:
        expected = (file.metadata() or {}).get(CHECKSUM)
        tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
    if checksum(tensors) != expected:
        raise ValueError("its SHA-256 does not match its contents")
    return tensors


def write_checked(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors and their checksum so that ``path`` is at every moment absent, the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        save_file(tensors, partial, metadata={CHECKSUM: checksum(tensors)})
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """Give the SHA-256 of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()
