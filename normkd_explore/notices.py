"""What the package tells its user while it works: on stderr, wrapped at words where that is a terminal."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from contextlib import suppress

LABEL = re.compile(r"\s*\S+\s{2,}|\s*")  # a word with two spaces behind it, or the indentation
INDENT = 2


def notice(text: str) -> None:
    """Print a text on stderr at once, where that is still open."""
    if sys.stderr.isatty():
        text = wrap(text, shutil.get_terminal_size().columns)
    with suppress(OSError):  # a closed terminal ends no training
        print(text, file=sys.stderr, flush=True)


def wrap(text: str, width: int) -> str:
    """Break lines that are longer than `width` at words, and indent what follows under the text of the first."""
    return "\n".join(_wrap_line(line, width) for line in text.split("\n"))


def _wrap_line(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    label = LABEL.match(line)
    indent = len(label[0]) if label and 0 < len(label[0]) <= width // 3 else INDENT
    return textwrap.fill(line, width, subsequent_indent=" " * indent, break_on_hyphens=False)
