"""The training loop, read top to bottom: one or several students, one teacher, one stream of batches."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from normkd_explore.data import Batch, Batches
from normkd_explore.models import Features
from normkd_explore.training.evaluate import evaluate
from normkd_explore.training.machine import processes
from normkd_explore.training.machine.interrupt import Interrupted, StopRequest
from normkd_explore.training.nonfinite import NonFiniteError
from normkd_explore.training.resume import last_good, restore
from normkd_explore.training.run import Moment, Run, Watcher
from normkd_explore.training.runs.checkpoint import save_checkpoint
from normkd_explore.training.teacher.frozen import Teacher

CHECKPOINT_SECONDS = 600  # besides the end of every epoch: the most that a power cut may cost
GO, SAVE, STOP = 0, 1, 2  # what the processes of a run may do after a step; they agree on the largest


def fit(
    runs: list[Run],
    train_batches: Batches,
    eval_batches: Batches,
    eval_name: str,
    teacher: Teacher | None = None,
    watch: Watcher = lambda moment, runs: None,
    resume: bool = False,
) -> None:
    """Train all `runs` in lockstep to the end of their recipe; the teacher looks at each batch once for all of them.

    Every student ends with the weights that it would have had alone, since nothing it uses depends on the others.
    After each epoch the students are evaluated on `eval_batches`, saved, and recorded under `eval_name`. `watch` is
    called after every step; runs that it takes out of the list it is given are trained no further. Ctrl-C, SIGTERM and
    a closed terminal end with `Interrupted` after the current step, saved; of several processes, all end after the
    same step, whichever got the signal. What is not finite is never saved: the NonFiniteError names the last
    checkpoint, from before that.
    """
    epochs, steps = runs[0].learner.recipe.epochs, len(train_batches)
    first_epoch, first_step = restore(runs) if resume else (0, 0)
    with StopRequest() as stop, torch.random.fork_rng(_cuda_devices(runs)):
        for epoch in range(first_epoch, epochs):
            clock = time.perf_counter()
            start = first_step if epoch == first_epoch else 0
            for run in runs:
                run.learner.model.train()
            for step, batch in enumerate(train_batches.epoch(epoch, start), start):
                _train_batch(runs, teacher, batch, epoch, step)
                watch(Moment(epoch, epochs, step + 1, steps, len(batch.labels_B) * processes.size()), runs)
                save = SAVE if time.perf_counter() - clock > CHECKPOINT_SECONDS else GO
                wish = processes.agree(STOP if stop.requested else save)
                stopping = wish == STOP and step + 1 < steps
                if stopping or wish == SAVE:
                    clock = _save(runs, epoch, step + 1, clock)
                if stopping:
                    raise Interrupted(epoch, step + 1, runs[0].folder and runs[0].folder.path)

            _finish_epoch(runs, eval_batches, eval_name, epoch, time.perf_counter() - clock)
            _save(runs, epoch + 1, 0)
            _record(runs)
            if epoch + 1 < epochs and processes.agree(stop.requested):
                raise Interrupted(epoch + 1, 0, runs[0].folder and runs[0].folder.path)


def _train_batch(runs: list[Run], teacher: Teacher | None, batch: Batch, epoch: int, step: int) -> None:
    logits_t, features_t = _ask(runs, teacher, batch)
    for run in runs:
        run.learner.step(batch, logits_t, epoch, step, features_t)
        # On a GPU this question would make the host wait, so there it is asked before each save.
        if batch.labels_B.device.type == "cpu":
            _refuse_bad([run], epoch)


def _refuse_bad(runs: list[Run], epoch: int) -> None:
    """NonFiniteError if a run's gradient was not finite; it names the checkpoint from before that."""
    for run in runs:
        with _named(run):
            run.learner.raise_if_bad(epoch)


@contextmanager
def _named(run: Run) -> Iterator[None]:
    try:
        yield
    except NonFiniteError as error:
        raise NonFiniteError(f"{error}{last_good(run)}", error.images) from None


def _ask(runs: list[Run], teacher: Teacher | None, batch: Batch) -> tuple[Tensor | None, Features | None]:
    """The teacher's logits, and its features if one of the students learns from them."""
    if teacher is None:
        return None, None
    if any(run.learner.objective.needs_features for run in runs):
        return teacher.logits_and_features(batch)
    return teacher.logits(batch), None


def _finish_epoch(runs: list[Run], eval_batches: Batches, eval_name: str, epoch: int, seconds: float) -> None:
    _refuse_bad(runs, epoch)
    for run in runs:
        run.learner.seconds += seconds
        measured = evaluate(run.learner.model, eval_batches.epoch(0), shared=True)
        with _named(run):
            run.learner.raise_if_not_finite(measured, eval_name, epoch)
        run.learner.finish_epoch(epoch, {eval_name: measured, "lockstep": len(runs)})


def _save(runs: list[Run], epoch: int, step: int, clock: float | None = None) -> float:
    """Write every run's state; returns the time from which the next stretch of training is counted.

    Not one file is written if one of the runs has met a NaN: the good checkpoints would make place for bad ones.
    """
    _refuse_bad(runs, epoch)
    for run in runs:
        run.learner.seconds += time.perf_counter() - clock if clock else 0.0
        state = run.learner.state()
        if run.folder:
            save_checkpoint(run.folder.checkpoints, epoch, step, state, run.folder.digest())
    return time.perf_counter()


def _record(runs: list[Run]) -> None:
    """The epochs in metrics.jsonl, once they can no longer be lost."""
    for run in runs:
        if run.folder:
            run.folder.write_metrics(run.learner.history)


def _cuda_devices(runs: list[Run]) -> list[int]:
    device = runs[0].learner.fabric.device
    return [device.index or 0] if device.type == "cuda" else []
