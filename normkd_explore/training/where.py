"""Where things are on this machine: data, weights, devices, and the folders that runs are kept in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from normkd_explore.training.recipes.recipe import Recipe
from normkd_explore.training.teacher.cache import TeacherCache

DEFAULT_ROOT = Path("runs")


@dataclass(frozen=True)
class Where:
    """Where things are on this machine, and how it computes; nothing here is in the recipe.

    A place changes no number, what lies there does: the run folder keeps digests of the teacher's weights and the data
    (see `inputs`), and a run goes on only with the same. Another kind of device rounds otherwise; the other fields
    change no number that is not rounding.
    """

    data_root: Path | None = None
    """Folder of the data set; None takes the default of `load_dataset`."""
    teacher_weights: Path | None = None
    """Checkpoint file or run folder of the teacher; None takes the shipped, torchvision's or the trained one."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    workers: int | None = None
    """Processes that decode streamed images; None chooses by the number of cores."""
    teacher_cache: TeacherCache | None = None
    """Keeps the teacher's logits, also for the next training with this `Where`; None computes them at every step."""
    deterministic: bool = False
    """Whether a GPU may use only algorithms that give the same bits in every run (see `determinism`)."""
    teacher_ema: bool | None = None
    """Whether to take the moving average where the teacher's file has one (see `load_checkpoint`)."""
    student_weights: Path | None = None
    """Checkpoint file or run folder that students begin with; None draws fresh weights. The recipe keeps its digest."""
    log: str | None = None
    """A board that is told every epoch besides metrics.jsonl: "tensorboard", or "wandb" where that is installed."""
    threads: int | None = None
    """Threads that share an operation on a CPU; None takes PyTorch's number. Another one rounds otherwise."""


HERE = Where()
"""The default: data and weights in their usual places, the device chosen by what there is."""


def default_folder(recipe: Recipe, where: Where, root: Path = DEFAULT_ROOT) -> Path:
    """runs/DATASET/TEACHER-STUDENT/METHOD-seedN; a user's own images are kept apart by the name of their folder."""
    _, _, pair = recipe.preset.partition("/")
    return root / _data_name(recipe, where) / pair / run_name(recipe)


def run_name(recipe: Recipe) -> str:
    """METHOD-seedN, with the seed of the batches behind it where that is another matter."""
    return f"{recipe.method}-seed{recipe.seed}" + ("" if recipe.data_seed is None else f"-data{recipe.data_seed}")


def teacher_folder(recipe: Recipe, where: Where, root: Path = DEFAULT_ROOT) -> Path:
    """runs/DATASET/teacher-NAME, where `normkd teacher` puts its result and `normkd train` looks for it."""
    return root / _data_name(recipe, where) / f"teacher-{recipe.teacher or recipe.student}"


def _data_name(recipe: Recipe, where: Where) -> str:
    dataset, _, _ = recipe.preset.partition("/")
    if dataset == "folder" and where.data_root:
        return f"folder-{where.data_root.resolve().name}"
    return dataset
