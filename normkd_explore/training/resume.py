"""Where a run goes on: the newest position that all students of a lockstep training can go on from."""

from __future__ import annotations

import warnings
from pathlib import Path

from normkd_explore.notices import notice
from normkd_explore.training.machine import processes
from normkd_explore.training.run import Run
from normkd_explore.training.runs.checkpoint import (
    Checkpoint,
    CheckpointError,
    list_checkpoints,
    load_checkpoint,
    place,
    position_of,
    remove_checkpoint,
)

Position = tuple[int, int]


def restore(runs: list[Run]) -> Position:
    """Load every run's state at their newest common position and return it: epochs done, steps of the next one done.

    A process that is killed between the saves of two runs leaves them one save apart, and a save may be damaged. Since
    each keeps its newest two, they meet at the one before; training from there repeats the later saves exactly, so
    these are removed, and metrics.jsonl is cut to that position. A line on stderr says where the runs go on.
    CheckpointError where they have no usable position in common.
    """
    # The first process reads and tells the others, so that all go on from one place even without a shared disk.
    found = processes.share(lambda: _newest_common(runs))
    position = (found[0].epoch, found[0].step) if found else (0, 0)
    for run, point in zip(runs, found, strict=bool(found)):
        run.learner.load_state(point.state)
    if processes.first():
        _tell(runs, position, bool(found))
        for run in runs:
            if run.folder:
                _forget_later(run, position)
    return position


def last_good(run: Run) -> str:
    """A sentence that names the newest checkpoint of a run whose training went wrong; "" for one without a folder."""
    found = _saves(run)
    if not found:
        return " No checkpoint was written before." if run.folder else ""
    return f" The last good checkpoint, {place(*position_of(found[-1]))}, is {found[-1].with_suffix('.safetensors')}."


def _newest_common(runs: list[Run]) -> list[Checkpoint]:
    """One checkpoint of each run, all at one position; none where all start from the first step."""
    headers = [{position_of(path): path for path in _saves(run)} for run in runs]
    problems = []
    for position in sorted(set.intersection(*map(set, headers)), reverse=True):
        try:
            return [load_checkpoint(own[position], run.kept.digest()) for own, run in zip(headers, runs, strict=True)]
        except CheckpointError as error:
            problems.append(str(error))
            warnings.warn(f"{error} Trying the checkpoint before it.", RuntimeWarning, stacklevel=2)
    if not any(headers) or (not problems and _just_started(headers)):
        return []
    raise CheckpointError(_nothing_common(runs, headers, problems))


def _saves(run: Run) -> list[Path]:
    return list_checkpoints(run.folder.checkpoints) if run.folder else []


def _just_started(headers: list[dict[Position, Path]]) -> bool:
    """Whether the runs were killed between the first saves of all: one has none, the others no more than that one."""
    return all(len(own) <= 1 and all(position <= (1, 0) for position in own) for own in headers)


def _nothing_common(runs: list[Run], headers: list[dict[Position, Path]], problems: list[str]) -> str:
    places = "; ".join(
        f"{run.name} ({run.kept.path}) {' and '.join(place(*position) for position in sorted(own)) or 'has none'}"
        for run, own in zip(runs, headers, strict=True)
    )
    if problems:
        return (
            f"no usable checkpoint at a position that all runs have: {problems[0]} Found: {places}. Bring the damaged "
            "files back from a copy, or delete the folder's checkpoints/ to train that run from its first step."
        )
    return (
        f"resume: found no position that all runs have a checkpoint of ({places}). Finish first those that are ahead, "
        "with --methods naming them alone and --resume; then the same command trains the others and leaves those as "
        "they are."
    )


def _tell(runs: list[Run], position: Position, found: bool) -> None:
    folders = ", ".join(str(run.folder.path) for run in runs if run.folder)
    if found:
        text = f"{folders}: continuing {place(*position)}"
    else:
        text = f"{folders}: no checkpoint there, starting from the first step"
    notice(text)


def _forget_later(run: Run, position: Position) -> None:
    """Remove saves after `position` and the lines of metrics.jsonl that tell of them."""
    later = [header for header in _saves(run) if position_of(header) > position]
    if later:
        steps = " and ".join(place(*position_of(header)) for header in later)
        notice(f"{run.kept.path}: the save {steps} is not used and is made again")
    for header in later:
        remove_checkpoint(header)
    run.kept.write_metrics(run.learner.history)
