"""Batches of image files too large or too many for memory, read by worker processes.

Letters: N images of the split, B images of a batch, S = image size in pixels, C = 3 colours.
"""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from normkd_explore.data.batches import Batch, Schedule, check_start, mixed_seed, plan_epoch
from normkd_explore.data.dataset import Dataset, FileSplit, normalized, row_constants
from normkd_explore.data.images.ahead import worked_ahead
from normkd_explore.data.images.decode import EVALUATION_MARGIN, evaluation_picture
from normkd_explore.data.images.gpu_jpeg import Refused, announce, choose_decoder, decode_and_cut
from normkd_explore.data.images.jpeg_batch import Box, JpegBytes, PackedFiles, pack, stack_pictures, unpack
from normkd_explore.data.images.jpeg_header import whole_rgb_jpeg
from normkd_explore.data.read import open_image, read_rgb
from normkd_explore.files.regular import NotRegularError, require_regular

MOST_WORKERS = 8
Item = tuple[int, int]  # position in the split, seed of its crop


class StreamingBatches:
    """Batches of a :class:`FileSplit`.

    Training shows a random resized crop (8..100 % of the area, aspect 3/4..4/3) and a random flip, both drawn from
    a generator keyed by (seed, epoch, image); evaluation the centre of the image. The number of workers therefore
    changes the speed and nothing else.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: FileSplit,
        schedule: Schedule,
        augment: bool,
        seed: int,
        device: torch.device,
        workers: int | None,
    ) -> None:
        self.dataset, self.schedule, self.augment, self.seed, self.device = dataset, schedule, augment, seed, device
        self.labels_N = split.labels_N.to(device)
        self._constants = row_constants(dataset.mean, dataset.std, split.image_size, device)
        self.workers = default_workers() if workers is None else workers
        self._plan = EpochItems(schedule)
        self.decoder = choose_decoder(split.names_N, device)
        if device.type == "cuda":  # elsewhere there is nothing to choose
            announce(self.decoder)
        self._pictures = PictureFiles(split, augment, dataset.views.flip)
        self._refused = Refused(split.path)
        join = partial(pack if self.decoder.on_gpu else stack_pictures, image_size=split.image_size)
        self._loader: DataLoader[Any] = DataLoader(
            ErrorsAsValues(JpegFiles(self._pictures) if self.decoder.on_gpu else self._pictures),
            batch_sampler=self._plan,
            num_workers=self.workers,
            collate_fn=partial(join_or_error, join=join),
            generator=torch.Generator(),  # else every epoch would draw from torch's global generator
            pin_memory=device.type == "cuda",
            persistent_workers=self.workers > 0,
            worker_init_fn=outlive_signals,
        )

    @property
    def num_samples(self) -> int:
        """Images of one epoch, over all processes."""
        return self.schedule.num_used

    def __len__(self) -> int:
        return self.schedule.steps

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """Give the batches of one epoch from ``start_step`` on."""
        check_start(start_step, len(self))
        order_N, view_N = plan_epoch(self.schedule.num_images, self.dataset.views, self.augment, self.seed, epoch)
        self._plan.set(order_N, start_step, (self.seed, epoch))
        order_N, view_N = (all_N.to(self.device, non_blocking=True) for all_N in (order_N, view_N))
        with closing(self._pixels()) as stream:
            for step, pixels_BSSC in enumerate(stream, start_step):
                index_B, view_B = self.schedule.share(order_N, step), self.schedule.share(view_N, step)
                images_BCHW = normalized(pixels_BSSC, *self._constants)
                yield Batch(images_BCHW, self.labels_N[index_B], index_B, view_B)
        self._refused.tell()

    def _pixels(self) -> Generator[Tensor]:
        """Give uint8 (B, S, S, C) of each planned step, on the device."""
        if self.decoder.on_gpu:
            yield from worked_ahead(self._decode, self._loader, self.device)
            return
        for loaded in self._loader:
            yield unless_error(loaded).to(self.device, non_blocking=True)

    def _decode(self, loaded: PackedFiles | Exception) -> Tensor:
        files, size = unpack(unless_error(loaded)), self._pictures.split.image_size
        if not files:
            return stack_pictures([], size).to(self.device)
        again = self._pictures.again
        return decode_and_cut(files, size, EVALUATION_MARGIN, self.device, again, self._refused)


class EpochItems:
    """The batches of the coming epoch as lists of items: what a DataLoader asks of its batch sampler."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.set(torch.arange(schedule.num_images), 0, (0, 0))

    def set(self, order_N: Tensor, start_step: int, key: tuple[int, int]) -> None:
        """Choose order, first step and key of the epoch that the next iteration gives."""
        self.order_N, self.start_step, self.key = order_N, start_step, key

    def __len__(self) -> int:
        return self.schedule.steps - self.start_step

    def __iter__(self) -> Iterator[list[Item]]:
        order_N, start_step, key = self.order_N, self.start_step, self.key
        for step in range(start_step, self.schedule.steps):
            yield [(index, mixed_seed(*key, index)) for index in self.schedule.share(order_N, step).tolist()]


class PictureFiles:
    """Reads one file and cuts out what the model sees: uint8 (S, S, C). Runs in worker processes."""

    def __init__(self, split: FileSplit, augment: bool, flip: bool) -> None:
        self.split, self.augment = split, augment
        self.crop, self.flip = v2.RandomResizedCrop(split.image_size, antialias=True), flip
        self.transform = v2.Compose([self.crop, v2.RandomHorizontalFlip()]) if flip else self.crop

    def __getitem__(self, item: Item) -> Tensor:
        index, seed = item
        if not self.augment:
            return torch.from_numpy(np.array(evaluation_picture(self.split.path(index), self.split.image_size)))
        image = read_rgb(self.split.path(index))
        with lent_generator(seed):
            return torch.from_numpy(np.array(self.transform(image)))

    def __len__(self) -> int:
        return len(self.split)

    def draw_cut(self, image: Image.Image, seed: int) -> tuple[Box, bool]:
        """Draw the part and the flip that `__getitem__` would show of an image of this size."""
        with lent_generator(seed):
            part = self.crop.make_params([image])
            flip = self.flip and torch.rand(1).item() < 0.5
        return (part["top"], part["left"], part["height"], part["width"]), flip

    def again(self, file: JpegBytes) -> Tensor:
        """Read with Pillow what a GPU refused: uint8 (S, S, C), or an error that names the file.

        It runs in a thread beside training, so it uses the cut that was drawn and no generator.
        """
        if file.box is None:
            return self[file.position, 0]
        size, image = [self.split.image_size] * 2, read_rgb(self.split.path(file.position))
        image = TF.resized_crop(image, *file.box, size=size, antialias=True)
        return torch.from_numpy(np.array(TF.horizontal_flip(image) if file.flip else image))


class JpegFiles:
    """Reads one file and draws its cut, for a GPU that decodes; what is no plain JPEG is decoded at once."""

    def __init__(self, pictures: PictureFiles) -> None:
        self.pictures = pictures

    def __getitem__(self, item: Item) -> JpegBytes | Tensor:
        index, seed = item
        path = self.pictures.split.path(index)
        try:
            require_regular(path)
            content = path.read_bytes()
        except (OSError, NotRegularError):
            return self.pictures[item]  # whose error says more
        if not whole_rgb_jpeg(content):
            return self.pictures[item]
        bytes_L = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        with open_image(io.BytesIO(content), ("JPEG",)) as image:  # its size alone is read
            box, flip = self.pictures.draw_cut(image, seed) if self.pictures.augment else (None, False)
            return JpegBytes(index, bytes_L, box, flip, image.width * image.height)

    def __len__(self) -> int:
        return len(self.pictures)


class ErrorsAsValues(torch.utils.data.Dataset[Any]):
    """Gives the error in place of an item that cannot be read.

    A worker process that raised it would hand it over as the text of a whole traceback.
    """

    def __init__(self, items: PictureFiles | JpegFiles) -> None:
        self.items = items

    def __getitem__(self, item: Item) -> JpegBytes | Tensor | Exception:
        try:
            return self.items[item]
        except (ValueError, OSError) as error:
            return error

    def __len__(self) -> int:
        return len(self.items)


def join_or_error(items: list[Any], join: Callable[[list[Any]], Any]) -> Any:
    """What `join` makes of a batch's items, or the first error among them."""
    errors = (item for item in items if isinstance(item, Exception))
    return next(errors, None) or join(items)


def unless_error(loaded: Any) -> Any:
    """What a worker process gave; raises it where it is an error."""
    if isinstance(loaded, Exception):
        raise loaded
    return loaded


def outlive_signals(worker: int) -> None:
    """Leave it to the main process what a signal to all of them means: it needs its workers until it has saved.

    A closed terminal and Ctrl-C reach every process of a terminal, SIGTERM every one of a job (torchrun, SLURM).
    Workers end when the main process says so, or is gone. Where a system does not tell who sent a signal (macOS), a
    SIGTERM ends them as it ends any program.
    """
    for name in ("SIGINT", "SIGHUP"):
        if number := getattr(signal, name, None):
            signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # threads that start later inherit it
        threading.Thread(target=_heed_the_main_process, daemon=True).start()


def _heed_the_main_process() -> None:
    """End at a SIGTERM of the main process, which sends one as it ends, and at the second one of anybody else."""
    others = 0
    while others < 2:
        if signal.sigwaitinfo({signal.SIGTERM}).si_pid == os.getppid():
            os._exit(0)
        others += 1
    os._exit(128 + signal.SIGTERM)


@contextmanager
def lent_generator(seed: int) -> Iterator[None]:
    """torchvision draws from torch's global generator: lend it a seed and give the generator back unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def default_workers() -> int:
    """One worker for each core this process may use, at most 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_WORKERS, cores)
