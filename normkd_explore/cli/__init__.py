"""The `normkd` command: train, compare, evaluate and report from a shell."""

from normkd_explore.cli.main import app, main

__all__ = ["app", "main"]
