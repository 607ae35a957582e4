"""JPEG files decoded and cut on the GPU; worker processes then only read bytes.

Whether it is used is decided once for a run (`choose_decoder`), and said. The cuts are those of the worker
processes, drawn from the same seeds; pixel values may differ by a few levels of 255, since nvJPEG rounds otherwise.

Letters: B images of a batch, S image size in pixels, C = 3 colours, H, W of one image, L bytes of a file.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from normkd_explore.data.images.jpeg_batch import JpegBytes
from normkd_explore.notices import notice

VARIABLE = "NORMKD_DECODER"
CHOICES = ("auto", "gpu", "workers")
DECODED_BYTES = 2**29  # of whole pictures on the GPU at one time: 14 of twelve megapixels
TOLERATED = 4.0  # mean difference to the processor's decoder, in levels of 255


class Decoder(NamedTuple):
    """Who decodes, and why."""

    on_gpu: bool
    reason: str

    def __str__(self) -> str:
        return f"{'the GPU' if self.on_gpu else 'worker processes'} ({self.reason})"


class Refused:
    """Files that the GPU refused, by position: they are decoded by Pillow, and never given to the GPU again.

    The first is said with its name and the reason; `tell` says how many there are.
    """

    def __init__(self, path: Callable[[int], Path]) -> None:
        self.path, self.told = path, 1
        self.known: set[int] = set()

    def add(self, index: int, error: Exception) -> None:
        """Remember a file."""
        if not self.known:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            notice(f"the GPU cannot decode {self.path(index)} ({reason}); Pillow decodes it")
        self.known.add(index)

    def tell(self) -> None:
        """Say how many there are if there are more than when it was last said."""
        if len(self.known) > self.told:
            notice(f"the GPU refused {len(self.known):,} files so far; Pillow decodes them")
            self.told = len(self.known)


def choose_decoder(names: Iterable[bytes], device: torch.device) -> Decoder:
    """Take the GPU where torchvision can decode JPEG on it and most files are JPEG, worker processes otherwise.

    The environment variable NORMKD_DECODER (gpu, workers, auto) overrides the choice.

    Raises:
        ValueError: for another value of it, or for gpu where that cannot work.
    """
    wish = os.environ.get(VARIABLE, "auto")
    if wish not in CHOICES:
        raise ValueError(f"{VARIABLE}: found {wish!r}, wanted one of {', '.join(CHOICES)}.")
    if wish == "workers":
        return Decoder(False, f"{VARIABLE}=workers")
    obstacle = _obstacle(names, device)
    if wish == "gpu" and obstacle:
        raise ValueError(f"{VARIABLE}: found 'gpu', but {obstacle}. Leave it out, and worker processes decode.")
    return Decoder(not obstacle, obstacle or "torchvision's nvJPEG works here")


def _obstacle(names: Iterable[bytes], device: torch.device) -> str:
    if device.type != "cuda":
        return f"the device is {device.type}"
    jpeg = [name.lower().endswith((b".jpg", b".jpeg")) for name in names]
    if 2 * sum(jpeg) < len(jpeg):
        return f"only {sum(jpeg):,} of {len(jpeg):,} files are JPEG"
    return _trial(device)


@cache
def _trial(device: torch.device) -> str:
    """Decode one small image on the device and on the processor: what went wrong, or nothing."""
    y_HW, x_HW = np.mgrid[0:64, 0:96]
    picture_HWC = np.stack([2 * x_HW, 3 * y_HW, x_HW + y_HW], axis=-1).astype(np.uint8)
    stored = io.BytesIO()
    Image.fromarray(picture_HWC).save(stored, "JPEG", quality=95)
    bytes_L = torch.frombuffer(bytearray(stored.getvalue()), dtype=torch.uint8)
    try:
        (found_CHW,) = decode_jpeg([bytes_L], device)
        (wanted_CHW,) = decode_jpeg([bytes_L], torch.device("cpu"))
        apart = (found_CHW.cpu().float() - wanted_CHW.float()).abs().mean().item()
    except (RuntimeError, ValueError, ImportError) as error:
        return f"torchvision cannot decode JPEG on it ({str(error).strip().splitlines()[0]})"
    return "" if apart <= TOLERATED else f"its decoder is {apart:.0f} levels off the processor's"


@cache
def announce(decoder: Decoder) -> None:
    """Say who decodes: once, and of several processes (torchrun) only the first."""
    if os.environ.get("RANK", "0") == "0":
        notice(f"images are decoded by {decoder}")


def decode_and_cut(
    items: list[JpegBytes | Tensor],
    image_size: int,
    enlarge: float,
    device: torch.device,
    decode_one: Callable[[JpegBytes], Tensor],
    refused: Refused,
) -> Tensor:
    """Decode a batch on the device and cut each image: uint8 (B, S, S, C).

    Args:
        items: files as bytes, or uint8 (S, S, C) pixels where a worker has decoded already.
        image_size: S.
        enlarge: evaluation resizes the shorter side to ``enlarge * S`` before it takes the centre.
        device: the GPU.
        decode_one: called for each file that the device refuses; gives its pixels, or raises an error that names it.
        refused: files known to be refused by the device; those of this batch are added.

    Raises:
        RuntimeError: where the device itself fails; that says nothing about a file.
    """
    pictures: list[Tensor] = []
    for part in _parts(items):
        pictures += _pictures(part, image_size, enlarge, device, decode_one, refused)
    return torch.stack(pictures)


def _parts(items: list[JpegBytes | Tensor]) -> Iterator[list[JpegBytes | Tensor]]:
    """The batch in stretches whose whole pictures fit into DECODED_BYTES; a larger picture is one alone."""
    part: list[JpegBytes | Tensor] = []
    size = 0
    for item in items:
        own = item.decoded_bytes if isinstance(item, JpegBytes) else 0
        if part and size + own > DECODED_BYTES:
            yield part
            part, size = [], 0
        part.append(item)
        size += own
    if part:
        yield part


def _pictures(
    items: list[JpegBytes | Tensor],
    image_size: int,
    enlarge: float,
    device: torch.device,
    decode_one: Callable[[JpegBytes], Tensor],
    refused: Refused,
) -> list[Tensor]:
    """Decode in one call and cut; after an error half by half, so that only refused files are left to `decode_one`.

    Halves want less memory too: the first one's whole pictures are gone before the second one's come.
    """
    rest = (image_size, enlarge, device, decode_one, refused)
    files = [item for item in items if isinstance(item, JpegBytes) and item.position not in refused.known]
    try:
        return _decoded_and_cut(items, files, image_size, enlarge, device, decode_one)
    except RuntimeError as error:
        if not files or _device_failed(error):
            raise
        if len(files) == 1:
            refused.add(files[0].position, error)
    # Not in the handler: the error holds what was decoded until then.
    if device.type == "cuda":
        torch.cuda.empty_cache()  # nvJPEG takes memory beside PyTorch's, which keeps what it has had
    if len(files) == 1:
        return _pictures(items, *rest)
    half = len(items) // 2
    return _pictures(items[:half], *rest) + _pictures(items[half:], *rest)


def _decoded_and_cut(
    items: list[JpegBytes | Tensor],
    files: list[JpegBytes],
    image_size: int,
    enlarge: float,
    device: torch.device,
    decode_one: Callable[[JpegBytes], Tensor],
) -> list[Tensor]:
    decoded: dict[int, Tensor] = {}
    if files:
        _let_crops_end(device)
        images = decode_jpeg([file.bytes_L for file in files], device)
        decoded = dict(zip((file.position for file in files), images, strict=True))
    cut = []
    for item in items:
        if not isinstance(item, JpegBytes):
            cut.append(item.to(device, non_blocking=True))
        elif item.position in decoded:
            cut.append(_cut(decoded[item.position], item, image_size, enlarge).permute(1, 2, 0))
        else:
            cut.append(decode_one(item).to(device))
    return cut


def _let_crops_end(device: torch.device) -> None:
    """Wait for the crops before: nvJPEG writes on a stream of its own, into memory that they may still read.

    The wait holds the decoding thread alone.
    """
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


def _device_failed(error: RuntimeError) -> bool:
    """Whether an error is about the device, and neither about a file nor about memory."""
    if isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error).lower():
        return False
    return isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error)


def decode_jpeg(files: list[Tensor], device: torch.device) -> list[Tensor]:
    """torchvision's decoder: uint8 (C, H, W) for each file.

    torchvision 0.29 announces that it will leave decoding to TorchCodec. Until it is gone that is no news for a user;
    once it is, `choose_decoder` finds an ImportError here and takes worker processes.
    """
    from torchvision.io import ImageReadMode
    from torchvision.io import decode_jpeg as decode

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return decode(files, mode=ImageReadMode.RGB, device=device)


def _cut(image_CHW: Tensor, item: JpegBytes, image_size: int, enlarge: float) -> Tensor:
    size = [image_size, image_size]
    if item.box is not None:
        image_CHW = TF.resized_crop(image_CHW, *item.box, size=size, antialias=True)
        return TF.horizontal_flip(image_CHW) if item.flip else image_CHW
    resized = round(image_size * enlarge)
    if min(image_CHW.shape[1:]) != resized:
        image_CHW = TF.resize(image_CHW, [resized], antialias=True)
    return TF.center_crop(image_CHW, size)
