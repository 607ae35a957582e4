"""NaN or infinity in training: the error that ends a run, in words, with the files of the images it was met on."""

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


def bad_gradient(who: str, epoch: int, step: int, lr: float, images: list[int]) -> NonFiniteError:
    """The error of a step (epoch and step from 0) whose gradient was not finite, with what to try."""
    return NonFiniteError(
        f"{who}: the gradient was not finite in epoch {epoch + 1}, step {step} (learning rate {lr:.4g}). No weight was "
        "changed by that step or after it. Common causes: a learning rate that is too high, a teacher with NaN or "
        "infinite logits, half precision that overflowed. --resume would meet it again: start a new run, with another "
        "--out, and a lower --lr or --precision 32-true. The images of that step, by position in the training split: "
        f"{', '.join(map(str, images))}.",
        images,
    )


def bad_evaluation(who: str, epoch: int, split: str, loss: float) -> NonFiniteError:
    """The error of an evaluation that was not finite although every gradient before it was."""
    return NonFiniteError(
        f"{who}: the {split} loss after epoch {epoch + 1} is {loss}, although every gradient was finite: the weights, "
        "or the batch norm's running statistics, have grown too large. --resume would meet it again: start a new run, "
        "with another --out, and a lower --lr.",
        [],
    )


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
