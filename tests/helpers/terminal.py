"""The command `normkd` on a real terminal of some size, or in a pipe: many command lines in one process."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import NamedTuple

CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
DRIVER = """
import json, sys
from normkd_explore.cli import main

for words in json.loads(sys.argv[1]):
    sys.argv = ["normkd", *words]
    code = 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code or 0
    print(f"\\n==== ended with {code} ====", flush=True)
"""
END = re.compile(r"\n==== ended with (\d+) ====\n")


class Answer(NamedTuple):
    """What one command line wrote on both streams, and its exit status."""

    text: str
    code: int

    @property
    def lines(self) -> list[str]:
        """Lines as they were seen, also those that others took the place of."""
        return re.split(r"[\r\n]+", CONTROL.sub("", self.text))


def on_terminal(commands: list[list[str]], cwd: Path, columns: int = 80, **environment: str) -> list[Answer]:
    """The answers of several command lines on a terminal of `columns` x 24 characters."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    streams = {"stdin": slave, "stdout": slave, "stderr": slave}
    process = subprocess.Popen(_line(commands), cwd=cwd, env=_environment(cwd, environment), **streams)
    os.close(slave)
    seen = bytearray()
    try:
        while part := os.read(master, 1 << 16):
            seen += part
    except OSError:  # Linux's way to say that the other side is closed
        pass
    os.close(master)
    assert process.wait(timeout=60) == 0, seen.decode()
    return _answers(seen.decode().replace("\r\n", "\n"), commands)


def in_pipe(commands: list[list[str]], cwd: Path, **environment: str) -> list[Answer]:
    """The answers of several command lines where both streams go into one pipe."""
    done = subprocess.run(
        _line(commands),
        cwd=cwd,
        env=_environment(cwd, environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
    )
    return _answers(done.stdout.decode(), commands)


def _line(commands: list[list[str]]) -> list[str]:
    return [sys.executable, "-u", "-c", DRIVER, json.dumps(commands)]


def _environment(cwd: Path, changes: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    return {**kept, "TERM": "xterm-256color", "OMP_NUM_THREADS": "1", "NORMKD_CACHE": str(cwd / "cache"), **changes}


def _answers(text: str, commands: list[list[str]]) -> list[Answer]:
    parts = END.split(text)
    answers = [Answer(text, int(code)) for text, code in zip(parts[::2], parts[1::2], strict=False)]
    assert len(answers) == len(commands), text
    return answers
