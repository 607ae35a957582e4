"""Safetensors files that know their own checksum: equal contents are equal files, and a flipped bit is noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from normkd_explore.files.regular import NotRegularError, require_regular
from normkd_explore.files.writing import replacing

CHECKSUM = "sha256"
LENGTH = 8  # bytes that say how long the header is, and of which its length is a multiple


class ChecksumError(ValueError):
    """The contents of a file are not those that were written."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> str:
    """Write tensors, texts and a checksum of both to `path` atomically (see `replacing`); returns the checksum.

    The tensors are contiguous, on the CPU and share no memory. Equal contents give equal files, byte for byte.
    """
    texts = dict(metadata or {})
    texts[CHECKSUM] = checksum(tensors, texts)
    content = tensor_bytes(tensors, texts)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return texts[CHECKSUM]


def tensor_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a safetensors file; the library itself writes the texts of `metadata` in a random order."""
    plain = save(dict(tensors))
    if not metadata:
        return plain
    end = LENGTH + int.from_bytes(plain[:LENGTH], "little")
    header = {"__metadata__": dict(sorted(metadata.items())), **json.loads(plain[LENGTH:end])}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % LENGTH)
    return len(text).to_bytes(LENGTH, "little") + text + plain[end:]


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file in the order of their names, and its texts.

    A file that carries a checksum is compared with it; one from elsewhere, without, is taken as it is.

    Raises:
        ChecksumError: the contents are not those that were written.
        NotRegularError: it is no file.
        OSError, SafetensorError: no such file, or no whole one.
    """
    require_regular(path)
    tensors, metadata = dict(sorted(load_file(path).items())), read_metadata(path)
    expected = metadata.get(CHECKSUM)
    if expected is not None and checksum(tensors, metadata) != expected:
        raise ChecksumError("its SHA-256 does not match its contents")
    return tensors, metadata


def read_metadata(path: Path) -> dict[str, str]:
    """The texts of a file; nothing is checked but its header."""
    require_regular(path)
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def checksum_of(path: Path) -> str | None:
    """The checksum that a file carries, or None; a file that cannot be read has none, as its reader will say."""
    try:
        return read_metadata(path).get(CHECKSUM)
    except (OSError, SafetensorError, NotRegularError):
        return None


def checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> str:
    """The SHA-256 of names, types, shapes and values, and of all texts but the checksum itself."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    texts = {name: text for name, text in (metadata or {}).items() if name != CHECKSUM}
    if texts:
        digest.update(json.dumps(texts, sort_keys=True).encode())
    return digest.hexdigest()
