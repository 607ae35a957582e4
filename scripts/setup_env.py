"""Make .venv and install the package with all that its notebooks and tests need.

The Makefile calls this before anything is installed: it uses the standard library alone, and syntax that an old
Python 3 can read, so that it can say so. One line a stage; what the installers say goes to .venv/install.log.
A failure ends in one line that says what is missing.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOG = VENV / "install.log"
STAMP = VENV / ".installed"
OLDEST_PYTHON = (3, 11)
NEWEST_PYTHON = (3, 14)  # the newest that every version in constraints.txt is built for
GIGABYTES = 7 if sys.platform == "linux" else 3  # on Linux torch brings the CUDA libraries

CAUSES = {
    "the disk is full: free some {gigabytes} GB and try again": r"No space left on device|os error 28",
    "the package index does not pass the certificate check: is a proxy in between? set SSL_CERT_FILE": (
        r"CERTIFICATE_VERIFY_FAILED|invalid peer certificate|UnknownIssuer"
    ),
    "no network: the package index cannot be reached; connect (or set HTTPS_PROXY) and try again": (
        r"name resolution|dns error|failed to lookup|new connection|Network is unreachable|Connection refused"
        r"|error sending request|Connect(ion)? ?timed? ?out|Read timed out"
    ),
}


class SetupError(Exception):
    """Something that the machine lacks, said in one line."""


def check_python(version: tuple = sys.version_info[:2]) -> None:
    """Refuse a Python that is too old, or one that Debian ships without its venv module."""
    found, wanted = ".".join(map(str, version)), ".".join(map(str, OLDEST_PYTHON))
    if version < OLDEST_PYTHON:
        raise SetupError(
            f"Python {wanted} or newer is needed and this is {found}: install one and name it, "
            f"as in: make lab PYTHON3=python{wanted}"
        )
    if not all(map(importlib.util.find_spec, ("venv", "ensurepip"))):
        raise SetupError("Python's venv module is missing: on Debian or Ubuntu run: apt install python3-venv")


def check_disk() -> None:
    """Refuse to begin an installation that would fill the disk."""
    free = shutil.disk_usage(ROOT).free / 1e9
    if not list(VENV.glob("lib/python*/site-packages/torch")) and free < GIGABYTES:
        raise SetupError(f"disk space is missing: {GIGABYTES} GB are needed here, {free:.1f} GB are free")


def run(*command: str) -> bool:
    """Run a command in the repository with its output in the log; True when it succeeded."""
    with LOG.open("a", encoding="utf-8") as log:
        print("\n$", *command, file=log, flush=True)
        return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log).returncode == 0


def usable(python: Path) -> bool:
    """Whether this interpreter still runs: a system upgrade leaves links to nowhere."""
    test = f"import sys, pip; sys.exit(sys.version_info < {OLDEST_PYTHON})"
    return python.exists() and subprocess.run([python, "-c", test], stderr=subprocess.DEVNULL).returncode == 0


def make_venv() -> None:
    """An environment of the standard library's venv, kept when there is a working one."""
    VENV.mkdir(exist_ok=True)
    LOG.write_text("", encoding="utf-8")
    if not usable(PYTHON) and not run(sys.executable, "-m", "venv", "--clear", VENV):
        raise SetupError("the environment .venv could not be made: on Debian or Ubuntu run: apt install python3-venv")


def install() -> None:
    """Install with uv, which resolves and unpacks in parallel, or with pip where uv does not work."""
    wanted = ("-e", ".[dev]", "-c", "constraints.txt")
    pip = (PYTHON, "-m", "pip", "install", "--retries", "2")
    with_uv = run(*pip, "uv") and run(PYTHON, "-m", "uv", "pip", "install", "--python", PYTHON, *wanted)
    if not with_uv and not run(*pip, *wanted):
        raise SetupError(diagnose(LOG.read_text(encoding="utf-8", errors="replace")))


def diagnose(log: str, version: tuple = sys.version_info[:2]) -> str:
    """The likely cause in one line, after the end of the log where the cause is not a known one."""
    for cause, pattern in CAUSES.items():
        if re.search(pattern, log, re.IGNORECASE):
            return cause.format(gigabytes=GIGABYTES)
    if version > NEWEST_PYTHON:
        newest, found = (".".join(map(str, v)) for v in (NEWEST_PYTHON, version))
        return f"Python {found} is newer than constraints.txt: name an older one: make lab PYTHON3=python{newest}"
    tail = "\n".join(log.splitlines()[-15:])
    return f"{tail}\nthe installation failed; all of its output is in {LOG.relative_to(ROOT)}"


def main() -> None:
    """Check the machine, make the environment, install, and leave the stamp that the Makefile looks at."""
    started = time.monotonic()
    check_python()
    check_disk()
    print(f"[1/2] Python {sys.version.split()[0]}: environment in .venv", flush=True)
    make_venv()
    size = "some GB with torch's CUDA libraries" if sys.platform == "linux" else "some hundred MB"
    print(f"[2/2] packages: {size}, takes minutes the first time (log: .venv/install.log)", flush=True)
    install()
    STAMP.touch()
    print(f"      installed in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    # make exports its own flags; an installer that calls make while building must not inherit them.
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
        os.environ.pop(name, None)
    try:
        main()
    except SetupError as error:
        sys.exit(f"setup: {error}")
