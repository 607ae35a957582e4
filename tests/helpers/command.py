"""The command `normkd` in this process."""

from __future__ import annotations

from typer.testing import CliRunner

from normkd_explore import cli


def normkd(*arguments: object) -> str:
    """What the command prints; an error fails the test."""
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output
