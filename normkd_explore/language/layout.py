"""How stored logits lie in a file, and how many of them fit: k and the type of number are chosen by size.

The file begins with the header of a safetensors file: 8 bytes of length, JSON, then the tensors one behind the other.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from normkd_explore.files.writing import explained

FORMAT = "normkd top-k 1"
HEADER_ROOM = 4096
"""Bytes before the first tensor, a fixed number."""
LENGTH = 8
LARGEST_K, SMALLEST_K = 256, 8
DTYPES = {"float16": ("F16", 2), "float32": ("F32", 4)}
SHARE = 4  # without a limit, at most this part of the free disk
NUMPY = {"F16": "<f2", "F32": "<f4", "U16": "<u2", "I32": "<i4", "U32": "<u4"}
BYTES = {"F16": 2, "F32": 4, "U16": 2, "I32": 4, "U32": 4}
Place = tuple[int, int, str, tuple[int, ...]]
"""Offset in the file, bytes, numpy's name of the type, shape."""


@dataclass(frozen=True)
class Layout:
    """The numbers that decide every offset."""

    samples: int
    positions: int
    vocabulary: int
    k: int
    dtype: str

    def __post_init__(self) -> None:
        wholes = all(type(value) is int and value > 0 for name, value in vars(self).items() if name != "dtype")
        if not wholes or self.dtype not in DTYPES or not 3 <= self.k < self.vocabulary:
            raise ValueError(
                f"{asdict(self)}: wanted whole numbers above 0, k between 3 and vocabulary - 1, and dtype one of "
                f"{', '.join(DTYPES)}"
            )

    def tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Type and shape of each, in the order of the file."""
        N, L, k = self.samples, self.positions, self.k
        number = DTYPES[self.dtype][0]
        rows = dict.fromkeys(("rest", "rest_mean", "rest_std"), ("F32", (N, L)))
        index = "U16" if self.vocabulary <= 2**16 else "I32"
        each = dict.fromkeys(("checks", "tokens", "lengths"), ("U32", (N,)))
        return {**each, **rows, "values": (number, (N, L, k)), "index": (index, (N, L, k))}

    def places(self) -> dict[str, Place]:
        """Where each tensor lies."""
        found, at = {}, HEADER_ROOM
        for name, (kind, shape) in self.tensors().items():
            size = BYTES[kind] * math.prod(shape)
            found[name] = (at, size, NUMPY[kind], shape)
            at += size
        return found

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return HEADER_ROOM + sum(size for _, size, _, _ in self.places().values())

    def describe(self) -> str:
        """A line with the size, and that of all logits."""
        whole = BYTES["F16"] * self.samples * self.positions * self.vocabulary
        return (
            f"{self.samples:,} samples x {self.positions:,} positions x the top {self.k} of {self.vocabulary:,} in "
            f"{self.dtype}: {readable(self.size)} (all logits in float16: {readable(whole)})"
        )

    def header(self, texts: dict[str, str]) -> bytes:
        """The first bytes of the file."""
        tensors = {
            name: {"dtype": kind, "shape": list(shape), "data_offsets": [at - HEADER_ROOM, at + size - HEADER_ROOM]}
            for (name, (at, size, _, shape)), (kind, _) in zip(
                self.places().items(), self.tensors().values(), strict=True
            )
        }
        meta = {"format": FORMAT, "layout": json.dumps(asdict(self)), **texts}
        text = json.dumps({"__metadata__": meta, **tensors}, ensure_ascii=False).encode()
        if len(text) > HEADER_ROOM - LENGTH:
            raise ValueError("teacher and data: found names of thousands of letters, wanted digests or short names.")
        return (HEADER_ROOM - LENGTH).to_bytes(LENGTH, "little") + text.ljust(HEADER_ROOM - LENGTH)

    def make_file(self, path: Path, texts: dict[str, str]) -> None:
        """A file of zeros behind its header, with all its disk blocks: a full disk is met here and not later."""
        with explained(path), open(path, "wb") as file:
            file.write(self.header(texts))
            file.flush()
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, self.size)
            else:
                file.truncate(self.size)


def read_layout(begin: bytes) -> tuple[Layout, dict[str, str]]:
    """The layout that a file's first bytes tell, and its texts.

    Raises:
        ValueError, TypeError, KeyError: it is another file.
    """
    length = int.from_bytes(begin[:LENGTH], "little")
    if length != HEADER_ROOM - LENGTH or len(begin) < HEADER_ROOM:
        raise ValueError("something else")
    texts = json.loads(begin[LENGTH:])["__metadata__"]
    if texts["format"] != FORMAT:
        raise ValueError(f"the format {texts['format']!r}")
    layout = Layout(**json.loads(texts["layout"]))
    if layout.header({name: texts[name] for name in ("teacher", "data")}) != begin:
        raise ValueError("a header that contradicts itself")
    return layout, texts


def choose_layout(
    path: Path,
    samples: int,
    positions: int,
    vocabulary: int,
    k: int | None = None,
    dtype: str | None = None,
    limit: int | None = None,
) -> Layout:
    """The largest k (256, 128 ... 8) that stays below `limit` bytes in float16; float32 where that fits as well.

    What is named is taken as it is. Without a limit: a quarter of the free disk.

    Raises:
        ValueError: nothing fits, or what was named does not.
    """
    room = shutil.disk_usage(path.absolute().parent).free // SHARE if limit is None else limit
    powers = [2**power for power in range(int(math.log2(LARGEST_K)), int(math.log2(SMALLEST_K)) - 1, -1)]
    kinds = [dtype] if dtype else ["float32", "float16"]
    sizes = [k] if k is not None else [size for size in powers if size < vocabulary] or [vocabulary - 1]
    tried = [Layout(samples, positions, vocabulary, size, kind) for size in sizes for kind in kinds]
    for layout in tried:
        if layout.size <= room:
            return layout
    why = "of the limit" if limit is not None else "that a quarter of the free disk allows"
    raise ValueError(
        f"{path}: found {readable(tried[-1].size)} for the top {tried[-1].k} in {tried[-1].dtype}, the least, "
        f"wanted at most the {readable(room)} {why}. Store fewer samples or positions, or raise limit."
    )


def readable(size: int) -> str:
    """Bytes for people: "2.9 GB", "13.0 MB"."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"
