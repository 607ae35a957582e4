"""A teacher's top k of every position of every sample, stored once: one file that is mapped into memory, not loaded.

    with TopKFile.create("teacher.topk", 10_000, 512, 150_000, teacher="...", data="...") as writer:
        writer.write(samples_B, teacher(tokens_BL), tokens_BL)
    store = TopKFile("teacher.topk", teacher="...", data="...")
    loss = TokenNormKD(3.0)(logits_student, store.read(samples_B, tokens_BL), mask)

Rows are found by the number of a sample in the data set, never by the step of a training: epochs reshuffle. A sample
has a checksum of its numbers and one of the tokens that the teacher saw, so that neither damage nor another order of
the data set passes unnoticed. The file is a safetensors file, which other programs can read.

Legend: N samples of the data set, B of a batch, L positions, V vocabulary, k logits kept.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from normkd_explore.files.locks import Busy, acquire, release
from normkd_explore.files.regular import require_regular
from normkd_explore.files.writing import replacing
from normkd_explore.language.layout import HEADER_ROOM, choose_layout, read_layout
from normkd_explore.language.top_k import Mass, Spread, TopK
from normkd_explore.notices import notice

Array = NDArray[Any]
PARTS = ("values", "index", "rest", "rest_mean", "rest_std")


class TopKFileError(ValueError):
    """A file of stored logits cannot be used; the text names the file, what was found and what to do."""


class TopKFile:
    """Stored logits, to be read; `create` and `append` give one that writes.

    Args:
        path: the file.
        teacher, data: names or digests of whose logits these are and of which data set; a file that was made with
            others is refused. None does not ask.
        mass, spread: as in `TopK`.
    Raises:
        TopKFileError: no such file, a foreign or damaged one, or one of another teacher or data set.
    """

    def __init__(
        self,
        path: str | Path,
        teacher: str | None = None,
        data: str | None = None,
        mass: Mass = "rest",
        spread: Spread = "all",
    ) -> None:
        self.path, self.mass, self.spread = Path(path), mass, spread
        self._lock: Any = None
        self._writing = False
        self._open(teacher, data, "r")

    @classmethod
    def create(
        cls,
        path: str | Path,
        samples: int,
        positions: int,
        vocabulary: int,
        teacher: str,
        data: str,
        k: int | None = None,
        dtype: str | None = None,
        limit: int | None = None,
        tell: Callable[[str], None] = notice,
    ) -> Self:
        """Announce the size, and make the file with all its disk space; nothing is known in it yet.

        Without `k` and `dtype` they are the largest that stay below `limit` bytes, by default a quarter of the free
        disk (see `choose_layout`).
        """
        path = Path(path)
        layout = choose_layout(path, samples, positions, vocabulary, k, dtype, limit)
        tell(f"{path}: {layout.describe()}")
        if path.exists():
            raise TopKFileError(
                f"{path}: found a file, wanted a new name. Go on in it with TopKFile.append, or delete it."
            )
        with replacing(path) as temporary:
            layout.make_file(temporary, {"teacher": teacher, "data": data})
        return cls.append(path, teacher, data)

    @classmethod
    def append(cls, path: str | Path, teacher: str, data: str) -> Self:
        """Go on writing: samples that are known stay. One writer at a time."""
        found = cls(path, teacher, data)
        lock = found._lock_file
        try:
            found._lock = acquire(lock)
        except Busy as busy:
            raise TopKFileError(f"{path}: {busy.owner} is writing it. Wait for its end, or stop it.") from None
        found._open(teacher, data, "r+")
        return found

    @property
    def _lock_file(self) -> Path:
        return self.path.with_name(f"{self.path.name}.lock")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Bring everything to the disk and let others write."""
        if self._writing:
            self._bytes.flush()
            self._writing = False
            release(self._lock, self._lock_file)
            self._lock = None

    def _open(self, teacher: str | None, data: str | None, mode: str) -> None:
        try:
            size = require_regular(self.path)
            with open(self.path, "rb") as file:
                self.layout, texts = read_layout(file.read(HEADER_ROOM))
            if size != self.layout.size:
                raise ValueError(f"{size:,} bytes in the place of {self.layout.size:,}")
            self._bytes: Any = np.memmap(self.path, np.uint8, mode)  # type: ignore[call-overload]
        except (OSError, ValueError, KeyError, TypeError) as error:
            said = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise self._error(f"found {said}", "wanted a file that TopKFile.create made") from error
        self._writing = mode == "r+"
        for name, wanted in (("teacher", teacher), ("data", data)):
            if wanted is not None and texts[name] != wanted:
                raise self._error(f"found the logits of {name} {texts[name]!r}", f"wanted those of {wanted!r}")
        self._parts = {name: self._bytes[at : at + n].view(kind).reshape(shape) for name, (at, n, kind, shape) in
                       self.layout.places().items()}  # fmt: skip
        self._verified: Array = np.zeros(self.layout.samples, bool)

    def _error(self, found: str, wanted: str) -> TopKFileError:
        return TopKFileError(
            f"{self.path}: {found}, {wanted}. Name another file, or delete it and write the teacher's logits again."
        )

    @property
    def known(self) -> int:
        """How many samples are stored."""
        return int(np.count_nonzero(self._parts["checks"]))

    def missing(self) -> Tensor:
        """The numbers of the samples that are not, int64."""
        return torch.from_numpy(np.flatnonzero(self._parts["checks"] == 0))

    def write(self, samples_B: Tensor, logits_BLV: Tensor, tokens_BL: Tensor) -> None:
        """Store the top k of some samples; L may be smaller than the file's number of positions.

        Raises:
            ValueError: shapes do not fit, or a logit is not finite.
        """
        if not self._writing:
            raise TopKFileError(f"{self.path}: opened for reading, wanted TopKFile.create or TopKFile.append.")
        self._check_batch(samples_B, logits_BLV, tokens_BL)
        top = TopK.of(logits_BLV, self.layout.k)
        arrays = {name: getattr(top, name).cpu().numpy() for name in PARTS}
        if not all(np.isfinite(arrays[name]).all() for name in PARTS):
            raise ValueError("logits_BLV hold NaN or infinity, wanted finite logits: store none of a broken teacher.")
        length, tokens = logits_BLV.shape[1], tokens_BL.cpu().numpy().astype(np.int64)
        for row, sample in enumerate(samples_B.tolist()):
            self._parts["checks"][sample] = 0  # until all of it is there
            for name in PARTS:
                self._parts[name][sample, :length] = arrays[name][row]
            self._parts["lengths"][sample] = length
            self._parts["tokens"][sample] = zlib.crc32(np.ascontiguousarray(tokens[row]).data)
            self._parts["checks"][sample] = self._checksum(sample)
            self._verified[sample] = False

    def _check_batch(self, samples_B: Tensor, logits_BLV: Tensor, tokens_BL: Tensor) -> None:
        B, L, V = logits_BLV.shape if logits_BLV.ndim == 3 else (0, 0, 0)
        if self.layout.vocabulary != V or self.layout.positions < L or tokens_BL.shape != (B, L):
            raise ValueError(
                f"logits have shape {tuple(logits_BLV.shape)} and tokens {tuple(tokens_BL.shape)}, wanted (B, L, "
                f"{self.layout.vocabulary}) and (B, L) with L of at most {self.layout.positions}."
            )
        self._check_samples(samples_B, B)

    def _check_samples(self, samples_B: Tensor, count: int) -> None:
        outside = samples_B[(samples_B < 0) | (samples_B >= self.layout.samples)]
        if samples_B.dtype != torch.int64 or samples_B.shape != (count,) or len(outside):
            raise ValueError(
                f"samples are {samples_B.dtype} of shape {tuple(samples_B.shape)} with {outside.tolist()[:3]} outside, "
                f"wanted int64 of shape ({count},) between 0 and {self.layout.samples - 1}: numbers in the data set."
            )

    def read(self, samples_B: Tensor, tokens_BL: Tensor | None = None) -> TopK:
        """The top k of some samples (B, L), L the longest of them or that of `tokens_BL`; on the CPU.

        Shorter samples are filled up with a position that says nothing: leave them out by the mask.

        Raises:
            TopKFileError: a sample is not stored or damaged, or the teacher saw other tokens of it.
        """
        samples_B = samples_B.cpu()
        self._check_samples(samples_B, len(samples_B))
        samples = samples_B.numpy()
        for sample in samples[~self._verified[samples]].tolist():
            self._verify(sample)
        lengths = self._parts["lengths"][samples]
        length = int(lengths.max(initial=0))
        if tokens_BL is not None:
            self._check_tokens(samples, lengths, tokens_BL.cpu().numpy().astype(np.int64))
            length = tokens_BL.shape[1]
        arrays = {name: np.array(self._parts[name][samples, :length]) for name in PARTS}
        tensors = {name: torch.from_numpy(_usual(array)) for name, array in arrays.items()}
        return TopK(**tensors, vocabulary=self.layout.vocabulary, mass=self.mass, spread=self.spread)

    def _check_tokens(self, samples: Array, lengths: Array, tokens_BL: Array) -> None:
        for row, sample in enumerate(samples.tolist()):
            seen = np.ascontiguousarray(tokens_BL[row, : lengths[row]])
            if lengths[row] > tokens_BL.shape[1] or zlib.crc32(seen.data) != self._parts["tokens"][sample]:
                raise self._error(f"found logits of other tokens for sample {sample}", "wanted those of this data set")

    def _verify(self, sample: int) -> None:
        check = self._parts["checks"][sample]
        if check == 0:
            raise TopKFileError(
                f"{self.path}: found nothing for sample {sample}, only {self.known:,} of {self.layout.samples:,}. "
                "Write the others with TopKFile.append; its missing() names them."
            )
        if self._checksum(sample) != check:
            raise self._error(f"found sample {sample} damaged", "wanted what its checksum says")
        self._verified[sample] = True

    def _checksum(self, sample: int) -> int:
        """CRC-32 of all that is stored of a sample; never 0, which means that there is nothing."""
        check = 0
        for name in (*PARTS, "lengths", "tokens"):
            check = zlib.crc32(np.ascontiguousarray(self._parts[name][sample]).data, check)
        return check or 1


def _usual(array: Array) -> Array:
    """Places as int64, numbers as float32: what the losses compute with."""
    return array.astype(np.int64 if array.dtype.kind in "iu" else np.float32)
