"""NaN or infinity in training: the error that ends a run, and the files of the images it was met on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from normkd_explore.data import Dataset, FileSplit


class NonFiniteError(RuntimeError):
    """The gradient became NaN or infinite, and the weights are those before that step; or an evaluation did.

    `images` are the positions, in the training split, of the images of that step (of all processes).
    """

    def __init__(self, message: str, images: list[int]) -> None:
        super().__init__(message)
        self.images = images


@contextmanager
def files_named(dataset: Dataset) -> Iterator[None]:
    """Add the images' file names to a NonFiniteError, where they come from files."""
    try:
        yield
    except NonFiniteError as error:
        if not error.images or not isinstance(dataset.train, FileSplit):
            raise
        names = ", ".join(str(dataset.train.path(image)) for image in error.images)
        raise NonFiniteError(f"{error} Their files: {names}.", error.images) from error
