"""A user's own images as arrays, from wherever they come: checked, brought to one form, and held out.

Letters: N images, S their side in pixels, H height, W width, C = 3 colours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from normkd_explore.data.read import as_rgb

Colours = tuple[float, float, float]  # a number for red, green and blue

LARGEST = 2**31  # bytes of pixels that are kept in memory
IMAGE_KEYS, LABEL_KEYS = ("image", "img", "pixel_values"), ("label", "labels", "fine_label")


def pixels_of(images: Any, what: str) -> Tensor:
    """uint8 (N, S, S, 3) from an array or tensor of that form; grey (N, S, S) is repeated in three colours.

    Raises:
        TypeError, ValueError: another type, shape or kind of number; the message says how to convert.
    """
    array = images.detach().cpu().numpy() if isinstance(images, Tensor) else np.asarray(images)
    if array.ndim == 3 and array.dtype == np.uint8:
        array = np.repeat(array[..., None], 3, axis=3)
    if array.dtype != np.uint8:
        raise TypeError(
            f"{what}: found {array.dtype}, wanted uint8 pixels from 0 to 255; for values in 0..1 use "
            "(255 * images).round().astype('uint8')."
        )
    if array.ndim != 4 or array.shape[3] != 3 or array.shape[1] != array.shape[2]:
        channels_first = array.ndim == 4 and array.shape[1] == 3
        hint = " It looks like (N, 3, H, W): pass images.transpose(0, 2, 3, 1)." if channels_first else ""
        raise ValueError(f"{what}: found shape {array.shape}, wanted (N, S, S, 3), square and RGB.{hint}")
    return torch.from_numpy(np.ascontiguousarray(array))


def labels_of(labels: Any, count: int, what: str) -> Tensor:
    """int64 (N,) class positions.

    Raises:
        TypeError, ValueError: no whole numbers, another number of them, or a negative one.
    """
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{what}: found {array.dtype}, wanted whole numbers 0 .. classes - 1, one for each image.")
    if array.shape != (count,):
        several = " Several classes an image (multi-label) are no task of this trainer." if array.ndim == 2 else ""
        raise ValueError(f"{what}: found shape {array.shape}, wanted ({count},): one label for each image.{several}")
    if count and array.min() < 0:
        raise ValueError(f"{what}: found {array.min()}, wanted class positions from 0 on.")
    return torch.from_numpy(array.astype(np.int64))


def arrays_of(samples: Any, what: str, image_size: int | None) -> tuple[Tensor, Tensor]:
    """Pixels (N, S, S, 3) and labels (N,) of any data set that has a length and gives a sample by its position.

    A sample is (image, label) as torchvision's are, or a mapping with an image and a label as Hugging Face's are; an
    image is a PIL picture, a uint8 array (H, W, 3), or a tensor (3, H, W) of uint8 or of floats in 0..1. A data set
    must not augment: views are drawn here, anew in every epoch.

    Raises:
        ValueError: images of several sizes without `image_size`, too many to keep, or a sample of another form.
    """
    count = len(samples)
    pictures, labels = [], []
    for position in range(count):
        image, label = parts_of(samples[position], what, position)
        pictures.append(_square(_picture(image, what, position), image_size))
        labels.append(int(label))
        if position == 0 and (size := count * pictures[0].nbytes) > LARGEST:
            raise ValueError(
                f"{what}: {count:,} images of {pictures[0].shape[0]} pixels take {size / 2**30:.1f} GiB. Give a "
                "smaller image_size, or save them as train/CLASS/*.jpg and use a folder/... preset, which streams."
            )
    sizes = {picture.shape[:2] for picture in pictures}
    if len(sizes) > 1 or any(height != width for height, width in sizes):
        some = ", ".join(f"{width} x {height}" for height, width in sorted(sizes)[:4])
        raise ValueError(f"{what}: images of {some} pixels, wanted one square size: image_size=S gives it.")
    return torch.from_numpy(np.stack(pictures)), torch.tensor(labels)


def names_in(samples: Any) -> tuple[str, ...] | None:
    """The class names that a data set knows: torchvision's `classes`, or the names of Hugging Face's label column."""
    if getattr(samples, "classes", None):
        return tuple(map(str, samples.classes))
    features = getattr(samples, "features", None)
    column = next((features[key] for key in LABEL_KEYS if isinstance(features, Mapping) and key in features), None)
    names = getattr(column, "names", None)
    return tuple(names) if names else None


def channel_statistics(images_NHWC: Tensor, chunk: int = 4096) -> tuple[Colours, Colours]:
    """Give mean and standard deviation of each colour channel over all pixels, in units of 0..1."""
    total = torch.zeros(2, 3, dtype=torch.float64)
    for images_BHWC in images_NHWC.split(chunk):
        values_PC = images_BHWC.reshape(-1, 3).to(torch.float64) / 255
        total += torch.stack([values_PC.sum(0), values_PC.square().sum(0)])
    mean_C, square_C = total / (images_NHWC.numel() // 3)
    std_C = (square_C - mean_C.square()).clamp_min(0).sqrt().clamp_min(1 / 255)
    return _rounded(mean_C), _rounded(std_C)


def _rounded(values_C: Tensor) -> Colours:
    red, green, blue = (round(value, 4) for value in values_C.tolist())
    return red, green, blue


def parts_of(sample: Any, what: str, position: int) -> tuple[Any, Any]:
    """The image and the label of a sample; a ValueError says what was found where there are none."""
    if isinstance(sample, Mapping):
        image = next((sample[key] for key in IMAGE_KEYS if key in sample), None)
        label = next((sample[key] for key in LABEL_KEYS if key in sample), None)
        if image is not None and label is not None:
            return image, label
        found = f"a mapping with {', '.join(map(str, sample))}"
    elif isinstance(sample, Sequence) and len(sample) >= 2 and not isinstance(sample, str):
        return sample[0], sample[1]
    else:
        found = type(sample).__name__
    raise ValueError(
        f"{what}[{position}]: found {found}, wanted (image, label), or a mapping with one of {', '.join(IMAGE_KEYS)} "
        f"and one of {', '.join(LABEL_KEYS)}."
    )


def _picture(image: Any, what: str, position: int) -> np.ndarray:
    """uint8 (H, W, 3)."""
    if isinstance(image, Image.Image):
        try:
            return np.asarray(as_rgb(image)[0])
        except ValueError as error:
            raise ValueError(f"{what}[{position}]: {error}.") from error
    array = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    if isinstance(image, Tensor) and array.ndim == 3:
        array = array.transpose(1, 2, 0)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim == 3 and array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    if np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise ValueError(
                f"{what}[{position}]: float pixels from {array.min():.3g} to {array.max():.3g}, wanted 0..1. Leave "
                "Normalize out of its transform: this package normalises by the training images."
            )
        array = (255 * array).round().astype(np.uint8)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(f"{what}[{position}]: found {array.dtype} of {array.shape}, wanted an RGB picture.")
    return array


def _square(pixels_HWC: np.ndarray, image_size: int | None) -> np.ndarray:
    """The picture with its shorter side at `image_size`, and the centre of it; as it is where None is asked for."""
    if image_size is None or pixels_HWC.shape[:2] == (image_size, image_size):
        return pixels_HWC
    height, width = pixels_HWC.shape[:2]
    scale = image_size / min(height, width)
    size = (max(image_size, round(width * scale)), max(image_size, round(height * scale)))
    resized = Image.fromarray(pixels_HWC).resize(size, Image.Resampling.BILINEAR)
    left, top = (size[0] - image_size) // 2, (size[1] - image_size) // 2
    return np.asarray(resized.crop((left, top, left + image_size, top + image_size)))
