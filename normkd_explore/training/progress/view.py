"""What progress looks like: a few lines that renew themselves on a terminal or in a notebook, or a line an epoch.

Nothing is ever cut. Loss and top-1 are always there; what does not fit beside them is left out.
"""

from __future__ import annotations

import html
import math
import os
import sys
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from normkd_explore.training.progress.pace import duration

if TYPE_CHECKING:
    from rich.text import Text

GAP = "  "
SHORTEST_BAR = 8  # characters; a shorter one says nothing
NOTEBOOK_WIDTH = 100
NOTEBOOK_HEIGHT = 40
MARK = {"normkd_explore": "progress"}  # in a notebook: this output says nothing once the run is over


@dataclass(frozen=True)
class Standing:
    """One student's numbers: loss and top-1 of an epoch, and top-1 after each finished one."""

    name: str
    loss: float | None
    top1: float | None
    split: str = "val"
    measured: list[float] = field(default_factory=list)

    def parts(self) -> list[tuple[str, str]]:
        """Texts and their styles, the most important first."""
        if self.loss is None or self.top1 is None:
            return [("loss and top-1", ""), ("come with the first epoch", "")]  # on a GPU
        parts = [
            (f"loss {self.loss:.3f}", "" if math.isfinite(self.loss) else "bold red"),
            (f"top-1 {100 * self.top1:.1f} %", ""),
        ]
        if self.measured:
            last, best = self.measured[-1], max(self.measured)
            parts.append((f"{self.split} {100 * last:.1f} %", "green" if last == best else ""))
            parts.append((f"best {100 * best:.1f} %", "dim"))
        return parts

    def short(self) -> str:
        """Name, loss and top-1 alone."""
        if self.loss is None or self.top1 is None:
            return self.name
        return f"{self.name} {self.loss:.3f} {100 * self.top1:.1f} %"


@dataclass(frozen=True)
class State:
    """What a display shows."""

    title: str
    epoch: int
    epochs: int
    fraction: float
    """Of the whole training; 1 only where it is over."""
    rate: float
    left: float | None
    took: float
    students: list[Standing]
    unit: str = "epoch"
    """What is counted."""

    @property
    def place(self) -> str:
        """The epoch of how many."""
        return f"{self.unit} {self.epoch}/{self.epochs}"

    @property
    def speed(self) -> str:
        """Images a second, lately."""
        return f"{self.rate:,.0f} images/s" if self.rate else ""

    @property
    def time(self) -> str:
        """How long still, or how long it took."""
        if self.fraction >= 1:
            return f"took {duration(self.took)}"
        return "" if self.left is None else f"{duration(self.left)} left"


class Display(Protocol):
    """Where progress is shown."""

    def show(self, state: State) -> None:
        """Show where training is now, in the place of what was shown before."""

    def finish_epoch(self, state: State) -> None:
        """Note how an epoch ended."""

    def close(self) -> None:
        """Leave what is shown as it stands."""


def find_display(stream: TextIO | None = None) -> Display:
    """The display for where this runs: a notebook, a terminal, or anything else that takes text."""
    stream = stream or sys.stderr
    ipython = sys.modules.get("IPython")
    if hasattr(ipython and ipython.get_ipython(), "kernel"):
        return NotebookDisplay()
    if stream.isatty() and os.environ.get("TERM") != "dumb":
        return TerminalDisplay(stream)
    return LineDisplay(stream)


class LineDisplay:
    """One plain line an epoch, without a single control character."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def show(self, state: State) -> None:
        """Nothing: a line once written stays."""

    def finish_epoch(self, state: State) -> None:
        """Write the epoch's line."""
        print(epoch_line(state), file=self.stream, flush=True)

    def close(self) -> None:
        """Nothing is open."""


class TerminalDisplay:
    """A few lines at the end of a terminal; what others print meanwhile appears above them."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self.console = Console(file=stream, highlight=False)
        self.live = Live(console=self.console, auto_refresh=False)

    def show(self, state: State) -> None:
        """Renew the lines."""
        from rich.text import Text

        self.live.start()
        # A terminal of its own height would scroll: one row stays free for the cursor.
        lines = layout(state, self.console.width, self.console.height - 1, self.console.encoding)
        self.live.update(Text("\n").join(lines), refresh=True)

    def finish_epoch(self, state: State) -> None:
        """Nothing: the next `show` has it."""

    def close(self) -> None:
        """Give the cursor back below the lines."""
        self.live.stop()


class NotebookDisplay:
    """One output of a cell, renewed in its place."""

    def __init__(self) -> None:
        self.handle: Any = None

    def show(self, state: State) -> None:
        """Renew the output."""
        from IPython.display import display

        text = "\n".join(line.plain for line in layout(state, NOTEBOOK_WIDTH, NOTEBOOK_HEIGHT))
        data = {"text/plain": text, "text/html": f"<pre>{html.escape(text)}</pre>"}
        if self.handle is None:
            self.handle = display(data, raw=True, metadata=MARK, display_id=True)
        else:
            self.handle.update(data, raw=True, metadata=MARK)

    def finish_epoch(self, state: State) -> None:
        """Nothing: the next `show` has it."""

    def close(self) -> None:
        """Nothing is open."""


def epoch_line(state: State) -> str:
    """All that is known after an epoch, in one line."""
    students = [f"{s.name}: {', '.join(text for text, _ in s.parts())}" for s in state.students]
    return GAP.join(filter(None, [f"{state.title} {state.place}", *students, state.speed, state.time]))


def layout(state: State, width: int, height: int, encoding: str = "utf-8") -> list[Text]:
    """The lines of a display of `width` x `height` characters: a heading, then the students."""
    rows = _rows(state.students, width)
    if len(rows) > height - 1:
        rows = _crowd(state.students, width, height - 1)
    return [_heading(state, width, encoding), *rows]


def _heading(state: State, width: int, encoding: str) -> Text:
    """Title, epoch, bar, speed and time; where they do not fit, the bar goes first, then speed, then title."""
    from rich.text import Text

    for names in (("title", "place", "speed", "time"), ("title", "place", "time"), ("place", "time")):
        parts = [part for part in (getattr(state, name) for name in names) if part]
        room = width - len(GAP.join(parts))
        if room >= 0:
            break
    line = Text(GAP).join(Text(part, style="bold" if part == state.title else "") for part in parts)
    before = len(GAP.join(parts[: parts.index(state.place) + 1]))
    if room >= SHORTEST_BAR + len(GAP):
        return line[:before] + Text(GAP) + _bar(state.fraction, room - len(GAP), encoding) + line[before:]
    return line


def _bar(fraction: float, length: int, encoding: str) -> Text:
    from rich.text import Text

    full, empty = ("━", "─") if encoding.startswith("utf") else ("#", "-")
    done = int(fraction * length)
    return Text(full * done, style="green" if fraction >= 1 else "cyan") + Text(empty * (length - done), style="dim")


def _rows(students: list[Standing], width: int) -> list[Text]:
    """A line for each student, in columns; two where name, loss and top-1 do not fit into one."""
    from rich.text import Text

    table = [student.parts() for student in students]
    widths = [max(len(cell[0]) for cell in column) for column in zip_longest(*table, fillvalue=("", ""))]
    names = max((len(student.name) for student in students), default=0)
    start = names if len(GAP) + names + sum(len(GAP) + w for w in widths[:2]) <= width else 0
    shown, used = 0, len(GAP) + start
    while shown < len(widths) and used + len(GAP) + widths[shown] <= width:
        used += len(GAP) + widths[shown]
        shown += 1
    lines = []
    for student, cells in zip(students, table, strict=True):
        name = Text(GAP + student.name.ljust(start), style="bold")
        row = Text("").join(Text(GAP + text.ljust(widths[i]), style) for i, (text, style) in enumerate(cells[:shown]))
        lines += [name + row] if start else [name, Text(GAP) + row]
    return lines


def _crowd(students: list[Standing], width: int, height: int) -> list[Text]:
    """Several students a line; if even so they do not fit, the last line counts the others."""
    from rich.text import Text

    cells = [student.short() for student in students]
    cell = max(map(len, cells))
    columns = max(1, (width - len(GAP)) // (cell + len(GAP)))
    lines = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    rows = [Text(GAP + GAP.join(text.ljust(cell) for text in line).rstrip()) for line in lines]
    if len(rows) <= height:
        return rows
    shown = max(0, height - 1)
    return [*rows[:shown], Text(f"{GAP}and {len(cells) - shown * columns} more students")]
