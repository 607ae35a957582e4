"""The `normkd` command: its commands by name, and what it says when one fails.

A new command is one line in `COMMANDS`. Its file may lie in any package; nothing is imported before it is called, so
that `normkd --help` answers at once. How commands and options are written, `options` says.
"""

from __future__ import annotations

import difflib
import os
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from normkd_explore.cli.command import build
from normkd_explore.cli.terminal import say, say_command

COMMANDS = {  # name: (place of its function, the first sentence of its help)
    "train": ("normkd_explore.cli.train:train", "Train the student of PRESET with a distillation method."),
    "teacher": (
        "normkd_explore.cli.train:teacher",
        "Train the teacher of PRESET with cross-entropy, where `normkd train` will find it.",
    ),
    "compare": (
        "normkd_explore.cli.compare:compare",
        "Train one student per method and seed, and compare them in pairs.",
    ),
    "tune": (
        "normkd_explore.cli.tune:tune",
        "Search temperature and weights for PRESET in short paired runs, and write a settings file.",
    ),
    "federate": (
        "normkd_explore.cli.federate:federate",
        "Train clients that share predictions and not images, some of which may lie.",
    ),
    "blackbox": (
        "normkd_explore.cli.blackbox:blackbox",
        "Train the student of PRESET from the answers of a teacher that shows nothing else.",
    ),
    "evaluate": ("normkd_explore.cli.look:evaluate", "Measure loss, top-1 and top-5 of a trained model."),
    "report": (
        "normkd_explore.cli.look:report",
        "Tabulate finished runs: last epoch, best epoch, mean, std, n and paired differences.",
    ),
    "presets": (
        "normkd_explore.cli.look:presets",
        "List the presets with the settings of a method, and say where each value was published.",
    ),
    "estimate": (
        "normkd_explore.cli.train:estimate",
        "Measure for a few seconds how long training PRESET will take here, what limits it, and whether it fits.",
    ),
    "stats": (
        "normkd_explore.cli.stats:stats",
        "Describe logits: their spread, which temperatures suit them, and what would go wrong.",
    ),
    "export": (
        "normkd_explore.cli.export:export",
        "Write a student as one file that classifies raw pictures, compared with the student before it is kept.",
    ),
    "doctor": ("normkd_explore.cli.look:doctor", "Print versions, devices, data found, and what would run."),
}


def load(name: str) -> TyperCommand:
    """The command of `COMMANDS` with that name; its module is imported now."""
    module, _, function = COMMANDS[name][0].partition(":")
    return build(name, getattr(import_module(module), function))


class Commands(TyperGroup):
    """The commands of `COMMANDS`, imported when one is called, and those that were added to `app` as usual."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, in the order of the help."""
        return [*COMMANDS, *self.commands]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name, None where there is none."""
        return load(cmd_name) if cmd_name in COMMANDS else super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that was called; an unknown name is answered with those that come close."""
        close = difflib.get_close_matches(args[0], self.list_commands(ctx), cutoff=0.5)
        if close and args[0] not in self.list_commands(ctx):
            ctx.fail(f"No such command {args[0]!r}. Close to it: {', '.join(close)}.")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each command with the first sentence of its help, whole."""
        rows = [(name, summary) for name, (_, summary) in COMMANDS.items()]
        rows += [(name, command.get_short_help_str(1000)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(help="Knowledge distillation with a temperature for every sample: train, compare, evaluate, report.")
def _normkd() -> None:
    pass


def main() -> None:
    """Run the command; an expected error is one clear line (NORMKD_DEBUG=1 shows where it arose).

    The processes of `--jobs` import the file of one's own that the command was called from, for the models and data
    sets that it registers. Python then calls that file "__mp_main__", and the command must not begin once more.
    """
    if sys._getframe(1).f_globals.get("__name__") == "__mp_main__":
        return
    warnings.showwarning = _tell_warning
    try:
        raise SystemExit(app(sys.argv[1:] or ["--help"], standalone_mode=False) or 0)
    except Exception as error:
        raise SystemExit(_explain(error)) from None


def _tell_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning as a user can use it: what it says, not which line of which file said it."""
    say(f"warning: {message}", err=True, marks={"warning:": "bold yellow"})


def _explain(error: Exception) -> int:
    """Say what ended the command and return its exit status; what nobody expected is raised again."""
    if isinstance(error, typer.TyperException):
        return _explain_usage(error)
    from normkd_explore.training import Interrupted, NonFiniteError
    from normkd_explore.training.runs.checkpoint import place

    if isinstance(error, Interrupted):
        where = error.words or place(error.epoch, error.step, error.unit)
        say(f"\nStopped {where}; nothing is lost. Continue with:", err=True, marks={"nothing is lost": "green"})
        say_command(_again())
        return 130
    if os.environ.get("NORMKD_DEBUG") or not isinstance(error, ValueError | OSError | RuntimeError):
        raise error
    # Every process meets a NonFiniteError at the same step; other errors may be one process's alone.
    alone = not isinstance(error, NonFiniteError)
    say(f"normkd: {error}", err=True, marks={"normkd:": "bold red"}, every_process=alone)
    return 2


def _explain_usage(error: typer.TyperException) -> int:
    """Say what is wrong with the command line, and where it is written what would be right."""
    context = getattr(error, "ctx", None)
    lists = f" `{context.command_path} --help` lists what there is." if context else ""
    said = error.format_message().replace("Value error, ", "").rstrip(".")
    say(f"normkd: {said}.{lists}", err=True, marks={"normkd:": "bold red"})
    return error.exit_code


def _again() -> list[str]:
    """The words that go on with this run, also for a file of one's own that ends in `main()`."""
    words = [*(word for word in sys.argv[1:] if word != "--resume"), "--resume"]
    program = Path(sys.argv[0])
    own = program.suffix == ".py" and program.name != "__main__.py"
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return ["torchrun", "...", *([sys.argv[0]] if own else ["-m", "normkd_explore"]), *words]
    return [*(["python", sys.argv[0]] if own else ["normkd"]), *words]
