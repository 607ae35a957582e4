"""A race without networks: learners whose numbers are known, and a clock that can be set."""

from types import SimpleNamespace

import numpy as np

from normkd_explore.training import Moment, Run


class FakeLearner:
    """Stands in for a Learner: `right` answers of `images` seen in this epoch."""

    def __init__(self, device="cpu"):
        self.totals = SimpleNamespace(device=SimpleNamespace(type=device))
        self.history, self.right, self.images, self.reads = [], 0, 0, 0

    def read_totals(self):
        assert self.totals.device.type == "cpu", "reading the totals makes a GPU's host wait"
        self.reads += 1
        return {"top1": self.right / max(self.images, 1)}

    def finish_epoch(self, top1, split="val"):
        self.history.append({"train": {"top1": self.right / max(self.images, 1)}, split: {"top1": top1}})
        self.right = self.images = 0


def fake_runs(methods=("ce", "kd"), device="cpu"):
    return [Run(method, FakeLearner(device)) for method in methods]


def final(method, seed, epoch):
    """The held-out top-1 that a faked epoch ends with."""
    return 0.1 + 0.2 * (epoch + 1) / (epoch + 2) + 0.01 * len(method) + 0.001 * seed


def train_fake(race, runs, seed, epochs=3, sizes=(64, 64, 32), split="val", after_step=lambda epoch, step: None):
    """Go through the calls that `fit` makes; returns the right answers of every step, {method: [...]}."""
    rng = np.random.default_rng(seed)
    right = {run.name: [] for run in runs}
    race.begin(seed)
    for epoch in range(epochs):
        for step, size in enumerate(sizes):
            for run in runs:
                right[run.name].append(int(rng.integers(0, size + 1)))
                run.learner.right += right[run.name][-1]
                run.learner.images += size
            race.watch(Moment(epoch, epochs, step + 1, len(sizes), size), runs)
            after_step(epoch, step)
        for run in runs:
            run.learner.finish_epoch(final(run.name, seed, epoch), split)
    return right


class Clock:
    """time.perf_counter under the test's control: moves on by `tick` seconds at each look."""

    def __init__(self, tick):
        self.now, self.tick = 100.0, tick

    def perf_counter(self):
        self.now += self.tick
        return self.now
