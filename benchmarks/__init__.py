"""What is fast here, and by how much: each module is a command, `python -m benchmarks.NAME`."""

import normkd_explore  # noqa: F401  before torch: it says how long waiting threads spin
