"""The parent of processes that train: it gives out turns, gathers what they say, and stops them all."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from typing import Any

from normkd_explore.training.jobs import worker
from normkd_explore.training.jobs.board import Board
from normkd_explore.training.jobs.division import Division
from normkd_explore.training.jobs.table import one_table
from normkd_explore.training.jobs.turn import Turn
from normkd_explore.training.machine.interrupt import Interrupted, StopRequest
from normkd_explore.training.progress.view import find_display
from normkd_explore.training.where import Where

LOOK_SECONDS = 0.2  # between two looks for a Ctrl-C
Summaries = list[dict[str, Any]]


class JobFailed(RuntimeError):
    """One of the processes failed; the others were stopped, and what they had is kept."""


class JobsStopped(Interrupted):
    """The processes were stopped on request; `done` of `turns` are finished, the others can go on."""

    def __init__(self, done: int, turns: int) -> None:
        super().__init__(done, 0, None, unit="seed")
        self.words = f"with {done} of {turns} seeds done"


class Job:
    """One process and the turn it is at."""

    def __init__(self, where: Where, resume: bool) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit torch's threads in no usable state
        self.connection, other = context.Pipe()
        self.process: SpawnProcess = context.Process(target=worker.work, args=(other, where, resume))
        with _interrupts_ignored():  # inherited, until the process has a session of its own
            self.process.start()
        other.close()
        self.number: int | None = None

    def begin(self, number: int, turn: Turn) -> None:
        """Give it a turn."""
        self.number = number
        self.connection.send(turn)

    def stop(self) -> None:
        """Ask it to stop between two steps."""
        self.process.terminate()

    def end(self) -> None:
        """Let it go, or make it."""
        with suppress(OSError):
            self.connection.send(None)
        self.process.join(10)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Crew:
    """Processes at work on turns."""

    def __init__(self, turns: list[Turn], where: Where, resume: bool, division: Division) -> None:
        self.turns, self.waiting = turns, deque(range(len(turns)))
        self.results: dict[int, Summaries] = {}
        self.failure: str | None = None
        self.stopping = False
        self.board = Board(turns, find_display())
        self.jobs: list[Job] = []
        for number in range(division.jobs):
            self.jobs.append(Job(worker.on_device(where, division.device(number), division.threads), resume))

    def run(self) -> None:
        """Until every turn is done, or everything has stopped."""
        with StopRequest() as request:
            while self.jobs:
                if (request.requested or self.failure) and not self.stopping:
                    self.stopping = True
                    for job in self.jobs:
                        job.stop()
                self._listen()

    def close(self) -> None:
        """End what still runs."""
        for job in self.jobs:
            job.process.kill()
            job.process.join()
        self.board.close()

    def _listen(self) -> None:
        sources: dict[Any, Job] = {job.connection: job for job in self.jobs}
        for ready in wait(list(sources), timeout=LOOK_SECONDS):
            job = sources[ready]
            try:
                self._hear(job, *job.connection.recv())
            except (EOFError, ConnectionResetError):
                self._lost(job)

    def _hear(self, job: Job, about: str, *content: Any) -> None:
        if about == worker.SAID:
            self.board.say(*content)
        elif about == worker.SHOWN and job.number is not None:
            self.board.shown(job.number, *content)
        elif about == worker.EPOCH and job.number is not None:
            self.board.epoch(job.number, *content)
        elif about == worker.FAILED:
            self.failure = self.failure or self._explained(job, *content)
            self._dismiss(job)
        elif about == worker.STOPPED:
            self._dismiss(job)
        elif about in (worker.READY, worker.DONE):
            self._next(job, *content)

    def _next(self, job: Job, summaries: Summaries | None = None) -> None:
        if summaries is not None and job.number is not None:
            self.results[job.number] = summaries
            self.board.finished(job.number)
        if self.waiting and not self.stopping:
            number = self.waiting.popleft()
            job.begin(number, self.turns[number])
        else:
            self._dismiss(job)

    def _dismiss(self, job: Job) -> None:
        self.jobs.remove(job)
        job.end()

    def _lost(self, job: Job) -> None:
        """It ended without a word: while everything stops that is well, else something ended it."""
        self.jobs.remove(job)
        job.process.join()
        if not self.stopping:
            self.failure = self.failure or (
                f"jobs: the process for {self._name(job)} ended without a word ({_status(job.process.exitcode)}). What "
                "it had saved is kept: the same command with --resume goes on; fewer --jobs need less memory."
            )

    def _explained(self, job: Job, text: str, trace: str | None) -> str:
        return f"{self._name(job)}: {text}" + (f"\n{trace}" if trace else "")

    def _name(self, job: Job) -> str:
        return "the start" if job.number is None else self.turns[job.number].name


def _status(code: int | None) -> str:
    if code is None or code >= 0:
        return f"status {code}"
    name = signal.Signals(-code).name
    return f"{name}, as where memory runs out" if name == "SIGKILL" else name


def run_jobs(turns: list[Turn], where: Where, resume: bool, division: Division) -> Summaries:
    """Train the turns in as many processes as `division` says, and return all summaries in the order of the turns.

    The numbers are those of training one turn after the other with as many threads, to the last bit on a CPU. Ctrl-C
    and SIGTERM stop all processes between two steps, with everything saved; a second Ctrl-C ends them at once.

    Raises:
        JobsStopped: on request; the same call with `resume` goes on.
        JobFailed: a process failed, with what it said; the others were stopped, and can go on too.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("jobs: found several processes of torchrun, wanted one: take --jobs or torchrun, not both.")
    with one_table(where, turns[0].outs[0].parent) as shared:
        crew = Crew(turns, shared, resume, division)
        try:
            crew.run()
        finally:
            crew.close()
    if crew.failure:
        raise JobFailed(crew.failure)
    if len(crew.results) < len(turns):
        raise JobsStopped(len(crew.results), len(turns))
    return [summary for number in range(len(turns)) for summary in crew.results[number]]
