"""Tables that fit: on a terminal columns are wrapped, noted below or left out, never cut; elsewhere they stay whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table as RichTable
    from rich.text import Text

GAP = 2  # spaces between columns
NARROWEST = 14  # what a column that wraps is given at least, if it needs it
Row = Sequence[str]


@dataclass(frozen=True)
class Column:
    """A column, and what may be done with it where the terminal is too narrow."""

    title: str
    right: bool = False
    """Whether it holds numbers, set flush right."""
    heading: bool = False
    """Whether rows with an equal value here stand below it, instead of in a column."""
    wraps: bool = False
    """Whether its cells may take several lines."""
    notes: bool = False
    """Whether its cells become numbered notes below the table, and the title goes."""
    drop: int = 0
    """Left out where there is no room, the highest first; 0: never."""
    style: Callable[[Row], str] = lambda row: ""
    """The colour of its cell in a row, where colour says something."""


@dataclass(frozen=True)
class Table:
    """Rows of texts under columns."""

    columns: Sequence[Column]
    rows: Sequence[Row]
    title: str = ""
    notes: list[str] = field(default_factory=list)

    def plain(self) -> str:
        """Every column, as wide as it is: for files and pipes."""
        from normkd_explore.training.runs.report import table

        text = table([column.title for column in self.columns], self.rows)
        return "\n\n".join([f"{self.title}\n{text}" if self.title else text, *self.notes])

    def fitted(self, width: int) -> Iterator[RenderableType]:
        """What rich shows of it in `width` characters."""
        from rich.text import Text

        shown, sources = self._sources()
        fit = Fit(self, shown, width)
        if self.title:
            yield Text(self.title)
        yield from fit.grouped()
        yield from (Text(f"[{number}] {text}", style="dim") for text, number in sources.items())
        if fit.dropped:
            yield Text(f"Left out at this width: {', '.join(fit.dropped)}.", style="dim")

    def _sources(self) -> tuple[list[Row], dict[str, int]]:
        """The rows with numbers in the place of notes, and the notes with their numbers."""
        numbers: dict[str, int] = {}
        rows: list[Row] = [
            [
                f"[{numbers.setdefault(cell, len(numbers) + 1)}]" if column.notes else cell
                for column, cell in zip(self.columns, row, strict=True)
            ]
            for row in self.rows
        ]
        return rows, numbers


class Fit:
    """Which columns of a table there is room for, and how wide each is."""

    def __init__(self, table: Table, rows: Sequence[Row], width: int) -> None:
        self.columns, self.rows, self.width = table.columns, rows, width
        self.titles = ["" if column.notes else column.title for column in table.columns]
        self.heading = next((i for i, column in enumerate(table.columns) if column.heading), None)
        self.kept = [i for i in range(len(table.columns)) if i != self.heading]
        self.dropped: list[str] = []
        while self._room() < 0 and any(table.columns[i].drop for i in self.kept):
            last = max(self.kept, key=lambda i: table.columns[i].drop)
            self.kept.remove(last)
            self.dropped.append(table.columns[last].title)
        self.widths = {i: self._least(i) for i in self.kept}
        self._spread(self._room())

    def _cells(self, i: int) -> list[str]:
        return [row[i] for row in self.rows]

    def _least(self, i: int) -> int:
        """The width below which a column would have to break a word, or a number."""
        title = max(map(len, self.titles[i].split()), default=0)
        widest = max(map(len, self._cells(i)), default=0)
        if self.columns[i].wraps:
            words = max((len(word) for cell in self._cells(i) for word in cell.split()), default=0)
            widest = min(widest, max(words, NARROWEST))
        return max(title, widest)

    def _room(self) -> int:
        return self.width - sum(map(self._least, self.kept)) - GAP * (len(self.kept) - 1)

    def _spread(self, room: int) -> None:
        """Give the room that is left to cells that would wrap, then to titles that would."""
        for texts in (self._cells, lambda i: [self.titles[i]]):
            for i in self.kept:
                more = max(0, min(room, max(map(len, texts(i)), default=0) - self.widths[i]))
                self.widths[i] += more
                room -= more

    def grouped(self) -> Iterator[RenderableType]:
        """All rows, below what they share; the titles stand once."""
        from rich.text import Text

        groups: dict[str, list[Row]] = defaultdict(list)
        for row in self.rows:
            groups["" if self.heading is None else row[self.heading]].append(row)
        narrow = self._room() < 0
        if len(groups) > 1 and not narrow:
            yield self._table([], titles=True)
        for name, rows in groups.items():
            if name:
                yield Text(name, style="bold")
            yield self._records(rows) if narrow else self._table(rows, titles=len(groups) == 1)

    def _table(self, rows: Sequence[Row], titles: bool) -> RichTable:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table as RichTable
        from rich.text import Text

        # One space of padding and one of the box between columns make the gap.
        found = RichTable(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0))
        found.show_header = titles
        for i in self.kept:
            justify: Literal["left", "right"] = "right" if self.columns[i].right else "left"
            found.add_column(Text(self.titles[i]), justify=justify, width=self.widths[i], overflow="fold")
        for row in rows:
            found.add_row(*(Text(row[i], style=self.columns[i].style(row)) for i in self.kept))
        return found

    def _records(self, rows: Sequence[Row]) -> Text:
        """Each row as a paragraph: for widths at which columns would be nothing but broken words."""
        from rich.text import Text

        first, *others = self.kept
        blocks = []
        for row in rows:
            cells = [Text(f"{self.titles[i]} {row[i]}".strip(), style=self.columns[i].style(row)) for i in others]
            blocks += [Text(row[first], style="bold"), Text(", ").join(cells)]
        return Text("\n").join(blocks)
