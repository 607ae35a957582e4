"""How long OpenMP's threads spin before they sleep: torch's default costs a busy machine most of its speed.

torch shares every operation between threads, and each thread waits at the end of its part by asking again and again.
Meanwhile it keeps a core. Alone on the machine that is the fastest way; as soon as anything else wants a core (a second
training, a browser that repaints), it keeps the core from the very thread that it waits for. `benchmarks.busy` measures
both. The libraries read their settings while torch is loaded, so this module must come before torch: it is the first
thing that the package imports; `python -m normkd_explore.spinning ARGUMENTS` starts what does not import it first.
"""

import os
import sys

SETTINGS = {
    "GOMP_SPINCOUNT": "1000",  # GCC's OpenMP (torch on Linux): rounds of the loop; by default 300,000
    "KMP_BLOCKTIME": "1",  # Intel's and LLVM's (macOS, Windows, conda): milliseconds; by default 200
}
POLICY = "OMP_WAIT_POLICY"  # decides for both; who sets it has chosen


def shorten() -> None:
    """Let threads spin a short while alone, unless the user's environment says how long.

    In a notebook whose kernel has loaded torch already this comes too late: then one line says what to do.
    """
    if POLICY in os.environ:
        return
    late = "torch" in sys.modules and not any(name in os.environ for name in SETTINGS)
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)  # processes that are started from here have it in time
    if late and _in_a_notebook() and sys.modules["torch"].get_num_threads() > 1:
        print(_advice(), file=sys.stderr, flush=True)


def _in_a_notebook() -> bool:
    """Whether a kernel runs this, with a browser beside it."""
    ipython = sys.modules.get("IPython")
    return hasattr(ipython and ipython.get_ipython(), "kernel")


def _advice() -> str:
    settings = " ".join(f"{name}={value}" for name, value in SETTINGS.items())
    return (
        "normkd_explore: torch was loaded before, and its waiting threads will slow each other down beside the "
        f"browser; start Jupyter with {settings} (`make lab` does), or import normkd_explore before torch."
    )
