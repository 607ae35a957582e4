"""What the commands write on a terminal, or into a file where there is none."""

from __future__ import annotations

import os

import typer


def say(text: str, err: bool = False) -> None:
    """Print once, however many processes torchrun started."""
    if os.environ.get("RANK", "0") == "0":
        typer.echo(text, err=err)
