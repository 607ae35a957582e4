"""Several seeds at the same time: processes that divide the machine between them, for `normkd compare --jobs N`.

A small network does not get much faster on more cores, but more students do. Each process trains one seed after the
other, its methods in lockstep, and all share one table of the teacher's logits. How many threads a process has decides
how sums are rounded: jobs of T threads end with the bits that one process with T threads (`--threads T`) ends with.
"""

from normkd_explore.training.jobs.crew import JobFailed, run_jobs
from normkd_explore.training.jobs.division import Division, Jobs, divide
from normkd_explore.training.jobs.turn import Turn

__all__ = ["Division", "JobFailed", "Jobs", "Turn", "divide", "run_jobs"]
