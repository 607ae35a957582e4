"""The epochs of a run on a board that draws curves: TensorBoard, or Weights & Biases where that is installed.

metrics.jsonl stays the record; a board is a copy of it for looking at. It is told the whole history again when a run
goes on, so it may be asked for at any time, and never shows an epoch twice or one that was lost.
"""

from __future__ import annotations

import hashlib
import shutil
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from normkd_explore.training.recipes.recipe import Recipe

PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb"}
"""The boards, and the package that each needs."""

INSTALL = 'pip install -e ".[log]"'
Record = dict[str, Any]


class Board(Protocol):
    """Draws numbers over epochs."""

    def draw(self, epoch: int, numbers: dict[str, float]) -> None:
        """Add the numbers of one epoch, counted from 1."""


class Log:
    """Tells a board every epoch of a run once. A board that fails is left alone: the training goes on."""

    def __init__(self, board: Board) -> None:
        self.board: Board | None = board
        self.told = 0

    def write(self, history: list[Record]) -> None:
        """Tell what is new in the run's history."""
        new, self.told = history[self.told :], len(history)
        for record in new if self.board else ():
            self._tell(record)

    def _tell(self, record: Record) -> None:
        assert self.board
        try:
            self.board.draw(record["epoch"], dict(numbers(record)))
        except Exception as error:  # of a full disk, a server, or the board's own library
            self.board = None
            warnings.warn(
                f"The log could not be written and is left alone from epoch {record['epoch']} on: {error}. The run "
                "goes on; metrics.jsonl has every epoch.",
                RuntimeWarning,
                stacklevel=2,
            )


def check_log(kind: str | None) -> None:
    """ValueError for an unknown board, ModuleNotFoundError for one that is not installed."""
    if kind is None:
        return
    if kind not in PACKAGES:
        raise ValueError(f"log: there is no {kind!r}; choose one of {', '.join(PACKAGES)}.")
    if find_spec(PACKAGES[kind]) is None:
        way = INSTALL if kind == "tensorboard" else f"pip install {PACKAGES[kind]}"
        raise ModuleNotFoundError(f"log: {kind} is not installed: {way}")


def open_log(kind: str, folder: Path, recipe: Recipe) -> Log:
    """The log of a run folder that was just started or opened to go on."""
    return Log(_TensorBoard(folder, recipe) if kind == "tensorboard" else _WandB(folder, recipe))


def numbers(record: Record, above: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of an epoch's record, named by their path, e.g. "val/top1"; the epoch itself is the axis."""
    for name, value in record.items():
        if isinstance(value, dict):
            yield from numbers(value, f"{above}{name}/")
        elif isinstance(value, int | float) and name != "epoch":
            yield above + name, float(value)


class _TensorBoard:
    """Event files in the run folder: `tensorboard --logdir runs` shows all runs side by side."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        from lightning_fabric.loggers import TensorBoardLogger

        shutil.rmtree(folder / "tensorboard", ignore_errors=True)  # told again from the first epoch
        self.logger = TensorBoardLogger(folder, name="tensorboard", version="", default_hp_metric=False)
        self.logger.experiment.add_text("recipe", _indented(recipe.to_yaml()))

    def draw(self, epoch: int, numbers: dict[str, float]) -> None:
        self.logger.log_metrics(numbers, epoch)
        self.logger.save()


class _WandB:
    """A run of the project normkd_explore; its id follows from the folder, so that a run that goes on finds it again.

    WANDB_MODE=offline keeps everything in the run folder, as always with that library.
    """

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        import wandb

        path = folder.resolve()
        name = "-".join([*path.parts[-2:]])
        identity = hashlib.sha256(f"{path}\n{recipe.to_yaml()}".encode()).hexdigest()[:16]
        self.run = wandb.init(
            project="normkd_explore",
            name=name,
            id=identity,
            resume="allow",
            dir=str(folder),
            config=dict(vars(recipe)),
            reinit="create_new",  # students in lockstep are several runs of one process
        )

    def draw(self, epoch: int, numbers: dict[str, float]) -> None:
        if epoch >= self.run.step:  # the server has what came before
            self.run.log(numbers, step=epoch)


def _indented(text: str) -> str:
    """As Markdown that shows the lines as they are."""
    return "".join(f"    {line}\n" for line in text.splitlines())
