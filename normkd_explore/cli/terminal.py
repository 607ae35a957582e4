"""What the commands write: wrapped and coloured on a terminal, plain and whole in a file or a pipe.

Colours follow what is said (green: good, yellow: mind this, red: wrong), never replace it, and are left out where
NO_COLOR is set. Of several processes that torchrun started, the first speaks.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import typer

from normkd_explore.notices import INDENT, wrap

if TYPE_CHECKING:
    from rich.console import Console

    from normkd_explore.cli.table import Table


def say(
    text: str, err: bool = False, marks: Mapping[str, str] = MappingProxyType({}), every_process: bool = False
) -> None:
    """Print a text; on a terminal long lines are wrapped at words, below what their first word labels.

    `marks` gives words that stand out a colour of their own.
    """
    if not (speaks() or every_process):
        return
    if not on_terminal(err):
        typer.echo(text, err=err)
        return
    from rich.text import Text

    console = terminal(err)
    shown = Text(wrap(text, console.width))
    for word, colour in marks.items():
        shown.highlight_words([word], colour)
    console.print(shown, soft_wrap=True)


def show(table: Table) -> None:
    """Print a table: fitted on a terminal, every column elsewhere."""
    if not speaks():
        return
    if not on_terminal():
        typer.echo(table.plain())
        return
    console = terminal()
    for part in table.fitted(console.width):
        console.print(part)
    for note in table.notes:
        say(f"\n{note}", marks={"not to be trusted": "yellow"})


def say_command(words: Sequence[str]) -> None:
    """Print a command on stderr so that it can be copied: where it is too long, its lines end as a shell wants it."""
    if not speaks():
        return
    width = terminal(err=True).width if on_terminal(err=True) else sys.maxsize
    lines = [" " * INDENT + shlex.quote(words[0])]
    for word in map(shlex.quote, words[1:]):
        if len(lines[-1]) + len(word) + 1 > width - 2:
            lines[-1] += " \\"
            lines.append(" " * 2 * INDENT + word)
        else:
            lines[-1] += f" {word}"
    typer.echo("\n".join(lines), err=True)


def say_json(value: Any) -> None:
    """Print one JSON value."""
    if speaks():
        typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def speaks() -> bool:
    """Whether this process is the only one, or the first."""
    return os.environ.get("RANK", "0") == "0"


def on_terminal(err: bool = False) -> bool:
    """Whether a person reads along as it is written."""
    return (sys.stderr if err else sys.stdout).isatty()


def terminal(err: bool = False) -> Console:
    """Rich's view of the terminal; it knows width and colours, and NO_COLOR."""
    from rich.console import Console

    return Console(stderr=err, highlight=False)
