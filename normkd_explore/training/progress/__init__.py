"""What a training shows of itself while it runs: how far, how fast, how good, and how long still."""

from normkd_explore.training.progress.bar import ProgressBar

__all__ = ["ProgressBar"]
