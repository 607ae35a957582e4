"""Python with waiting threads that spin a short while alone: `python -m normkd_explore.spinning -m jupyterlab ...`."""

import os
import sys

os.execv(sys.executable, [sys.executable, *sys.argv[1:]])  # importing the package has set the environment
