"""The run folders of one training, taken together: held against others, started, and those that are finished."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from normkd_explore.files.records import RecordError
from normkd_explore.notices import notice
from normkd_explore.training.machine import processes
from normkd_explore.training.recipes.recipe import Recipe
from normkd_explore.training.runs.checkpoint import list_checkpoints
from normkd_explore.training.runs.folder import RunFolder
from normkd_explore.training.runs.inputs import Inputs
from normkd_explore.training.runs.lock import locked


@contextmanager
def held(folders: list[RunFolder]) -> Iterator[None]:
    """The first process locks the folders, so that no other training writes there (see `lock`)."""
    with ExitStack() as stack:
        processes.share(lambda: [stack.enter_context(locked(folder.path)) for folder in folders])
        yield


def start(recipes: list[Recipe], folders: list[RunFolder], resume: bool, inputs: list[Inputs], device: str) -> None:
    """`RunFolder.start` for each."""
    for recipe, folder, own in zip(recipes, folders, inputs, strict=True):
        folder.start(recipe, resume, device, own)


def finished(recipes: list[Recipe], folders: list[RunFolder], inputs: list[Inputs]) -> list[dict[str, Any] | None]:
    """The summary of each folder that holds a finished run of its recipe, teacher and data; None for the others.

    ValueError, naming what differs, where a finished run had another recipe, teacher or data. A run whose results are
    damaged counts as not finished (see `finished_summary`).
    """
    for recipe, folder, own in zip(recipes, folders, inputs, strict=True):
        if folder.finished:
            folder.check_same(recipe, own)
    summaries = [finished_summary(folder) for folder in folders]
    kept = [str(folder.path) for folder, summary in zip(folders, summaries, strict=True) if summary is not None]
    if 0 < len(kept) < len(folders):
        notice(f"finished before and left as they are: {', '.join(kept)}")
    return summaries


def finished_summary(folder: RunFolder) -> dict[str, Any] | None:
    """The summary of a finished run whose results are all there; else None: going on writes them again.

    A RecordError says so where results are damaged and no checkpoint is there to write them from.
    """
    if not folder.finished:
        return None
    damage = folder.damage()
    if damage is None:
        return folder.summary()
    if not list_checkpoints(folder.checkpoints):
        raise RecordError(
            f"{damage} The run is finished, and has no checkpoint to write it from again: bring the file back from a "
            "copy, or start a new run with --out."
        )
    notice(f"{damage} It is written again from the last checkpoint.")
    return None
