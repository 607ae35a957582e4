"""How a function becomes a command: groups of options spread out, options without a value, help in sections.

Nothing heavy is imported here, so that `normkd --help` answers at once.
"""

from __future__ import annotations

import functools
import inspect
from collections import defaultdict
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Annotated, Any, get_args, get_type_hints

import typer
from typer.core import TyperCommand
from typer.models import OptionInfo


@dataclass(frozen=True)
class Alone:
    """Marks an option whose value may be left out: `--compile` means `--compile on`."""

    value: str


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Spread the groups among the parameters of `function` out into their fields, each of which becomes an option.

    A group is a frozen dataclass whose fields are annotated as Typer wants it: ``Annotated[type, Option(...)]``. What
    is returned takes the fields as keywords, and calls `function` with the groups made of them.
    """
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    kinds: dict[str, Any] = {p.name: p.annotation for p in parameters}
    groups: dict[str, Any] = {name: kind for name, kind in kinds.items() if is_dataclass(kind)}
    flat = [p for p in parameters if p.name not in groups]
    flat += [p for group in groups.values() for p in _spread(group)]
    signature = inspect.Signature(flat)

    @functools.wraps(function)
    def run(*args: Any, **options: Any) -> None:
        bound = signature.bind(*args, **options)
        bound.apply_defaults()
        values = bound.arguments
        made = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        function(**values, **made)

    run.__signature__ = signature  # type: ignore[attr-defined]  # where inspect, and so Typer, looks first
    run.__annotations__ = {p.name: p.annotation for p in flat}
    return run


def _spread(group: type[Any]) -> Iterator[inspect.Parameter]:
    """The fields of a group as parameters; the title of the class that declares one is its section of the help."""
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        kind, *notes = get_args(hints[field.name])
        notes = [_titled(note, group, field.name) if isinstance(note, OptionInfo) else note for note in notes]
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        annotation = Annotated[(kind, *notes)]  # type: ignore[valid-type]  # made while the program runs
        yield inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _titled(option: OptionInfo, group: type, field: str) -> OptionInfo:
    owner = next(base for base in group.__mro__ if field in inspect.get_annotations(base))
    option = copy(option)
    option.rich_help_panel = getattr(owner, "title", None)
    return option


def build(name: str, function: Callable[..., None]) -> TyperCommand:
    """The command that Typer runs, named `name`."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(name, cls=SectionedCommand)(function)
    built = typer.main.get_command(app)
    assert isinstance(built, SectionedCommand)
    notes = {name: get_args(kind)[1:] for name, kind in get_type_hints(function, include_extras=True).items()}
    built.alone = {key: note.value for key, found in notes.items() for note in found if isinstance(note, Alone)}
    return built


class SectionedCommand(TyperCommand):
    """A command whose help has a section for each group, and whose marked options may stand without a value."""

    alone: dict[str, str]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give options that stand alone their value; a word that is none of the option's choices is not its value."""
        for param in self.params:
            if param.name in self.alone:
                args = _complete(args, param, self.alone[param.name])
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options in the sections of their groups, in columns of one width."""
        sections = self._sections(ctx)
        width = max(len(name) for records in sections.values() for name, _ in records)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in records])

    def _sections(self, ctx: Any) -> dict[str, list[tuple[str, str]]]:
        sections: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None:  # hidden
                continue
            name, text = record
            if param.param_type_name == "argument":
                several = "..." if param.nargs == -1 else ""
                sections["Arguments"].append((f"{param.metavar or param.name.upper()}{several}", text))
            else:
                sections[getattr(param, "rich_help_panel", None) or "Options"].append((name, text))
        sections["Options"] = sections.pop("Options")  # the command's own, and --help, come last
        return sections


def _complete(args: list[str], param: Any, value: str) -> list[str]:
    choices = param.type_descriptor.choices
    done = []
    for word, following in zip(args, [*args[1:], None], strict=False):
        done.append(word)
        if word in param.opts and following not in choices:
            done.append(value)
    return done
