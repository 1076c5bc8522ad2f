"""Tables that fit the width of the terminal: a cell that is too long goes on below itself, within its column.

Where the columns have no room beside each other, every row becomes a block of `name  value` lines. Made of rich's
segments, by hand: rich's own tables take longer to load than a plan takes to make.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from rich.segment import Segment
from rich.style import Style

Row = Sequence[str]

INDENT: Final = "  "
GAP: Final = "  "
WORD_LIMIT: Final = 16
"""Characters of a word that a column makes room for, as many as a usual range has; what is longer may be broken."""
SHORTEST_VALUE: Final = 12
BREAK_AFTER: Final = "/-:.,_@="
EMPTY_LINE: Final = Segment.line()
TITLE, HEAD, NOTE = Style(bold=True, color="cyan"), Style(bold=True), Style(dim=True)
Styles = Mapping[str, Style]
NO_STYLES: Final[Styles] = MappingProxyType({})


def table(
    title: str, heads: Row, rows: Sequence[Row], *, width: int, notes: Sequence[str] = (), styles: Styles = NO_STYLES
) -> Iterator[Segment]:
    """The table with its title, its notes and an empty line behind it, in lines of at most ``width`` columns where
    that is possible at all. ``styles`` are those of cells, by their text.
    """
    if title:
        yield from _styled(wrapped(title, max(SHORTEST_VALUE, width)), TITLE)
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    room = width - len(INDENT) - len(GAP) * (len(heads) - 1)
    if sum(widths) <= room and not styles:  # as nearly always; nothing is looked at twice
        yield from _styled([_line(heads, widths)], HEAD)
        yield Segment("".join(f"{_line(row, widths)}\n" for row in rows))
    elif fitting := fitted(widths, _shortest(heads, rows, widths), room):
        yield from _styled(_wrapped_row(heads, fitting), HEAD)
        if styles:
            for row in rows:
                yield from _styled_row(row, fitting, styles)
        else:
            yield Segment("".join(f"{line}\n" for row in rows for line in _wrapped_row(row, fitting)))
    else:
        for row in rows:
            yield from _block(heads, row, width, styles)
    for note in notes:
        yield from _styled(
            [INDENT + line for line in wrapped(note, max(SHORTEST_VALUE, width - len(INDENT)))],
            NOTE,
        )
    yield EMPTY_LINE


def fitted(widths: Sequence[int], shortest: Sequence[int], room: int) -> list[int] | None:
    """The widths, the widest made smaller until all have room; None where they would have to be broken too much."""
    result = list(widths)
    missing = sum(result) - room
    while missing > 0:
        wide = [index for index, (has, needs) in enumerate(zip(result, shortest, strict=True)) if has > needs]
        if not wide:
            return None
        widest = max(wide, key=lambda index: result[index])
        result[widest] -= 1
        missing -= 1
    return result


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most that many characters: broken at spaces, within a word only where it is longer."""
    if len(text) <= width:
        return [text]
    lines, line = [], ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) <= width:
            line += f" {word}"
            continue
        if line:
            lines.append(line)
        line = word
        while len(line) > width:
            cut = max(line.rfind(sign, 0, width) + 1 for sign in BREAK_AFTER) or width
            lines.append(line[:cut])
            line = line[cut:]
    return [*lines, line]


def hanging(lead: str, text: str, width: int) -> str:
    """The text behind a lead, in lines of at most ``width`` columns; what goes on does so below its own beginning."""
    lines = wrapped(text, max(SHORTEST_VALUE, width - len(lead)))
    return f"\n{' ' * len(lead)}".join([lead + lines[0], *lines[1:]])


def joined_names(names: Sequence[str], everyone: int) -> str:
    """The names for a row that holds for several: `all` where it holds for everyone."""
    return "all" if len(names) == everyone > 1 else ", ".join(names)


def grouped(rows: Iterable[Row]) -> list[Row]:
    """The rows with each content once: the first cell names all to whom it applies. The largest of several groups
    comes last, as `all others`, where listing its names would say less.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, *cells in rows:
        groups.setdefault(tuple(cells), []).append(name)
    everyone = sum(map(len, groups.values()))
    largest = max(groups, key=lambda cells: len(groups[cells]), default=())
    if len(groups) == 1 or len(groups[largest]) < OTHERS:
        return [(joined_names(names, everyone), *cells) for cells, names in groups.items()]
    named = [(", ".join(names), *cells) for cells, names in groups.items() if cells != largest]
    return [*named, ("all others", *largest)]


OTHERS: Final = 4


def _styled(lines: Iterable[str], style: Style) -> Iterator[Segment]:
    # The end of a line has no style, so that a colour never reaches over it.
    for line in lines:
        yield Segment(line, style)
        yield EMPTY_LINE


def _line(row: Row, widths: Sequence[int]) -> str:
    return INDENT + GAP.join(map(str.ljust, row, widths)).rstrip()


def _shortest(heads: Row, rows: Sequence[Row], widths: Sequence[int]) -> list[int]:
    """How narrow each column may get. The first says what the row is about, so it stays in one piece."""
    _, *others = zip(heads, *rows, strict=True)
    words = [max(len(word) for cell in column for word in cell.split(" ")) for column in others]
    return [min(WORD_LIMIT, width) for width in (widths[0], *words)]


def _wrapped_row(row: Row, widths: Sequence[int]) -> Iterator[str]:
    cells = [wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
    for number in range(max(map(len, cells))):
        yield _line([cell[number] if number < len(cell) else "" for cell in cells], widths)


def _styled_row(row: Row, widths: Sequence[int], styles: Styles) -> Iterator[Segment]:
    cells = [wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
    for number in range(max(map(len, cells))):
        before = INDENT
        for cell, lines, width in zip(row, cells, widths, strict=True):
            text = lines[number] if number < len(lines) else ""
            if text:
                yield Segment(before)
                yield Segment(text, styles.get(cell))
                before = ""
            before += " " * (width - len(text)) + GAP
        yield EMPTY_LINE


def _block(heads: Row, row: Row, width: int, styles: Styles) -> Iterator[Segment]:
    yield from _styled([INDENT + line for line in wrapped(row[0], max(SHORTEST_VALUE, width - len(INDENT)))], HEAD)
    named = [(head, cell) for head, cell in zip(heads[1:], row[1:], strict=True) if cell]
    column = max((len(head) for head, _ in named), default=0)
    room = width - 2 * len(INDENT) - column - len(GAP)
    below = width - 3 * len(INDENT)
    for head, cell in named:
        if max(map(len, cell.split(" "))) <= room:
            for number, line in enumerate(wrapped(cell, room)):
                name = "" if number else head
                yield Segment(f"{2 * INDENT}{name.ljust(column)}{GAP}")
                yield Segment(line, styles.get(cell))
                yield EMPTY_LINE
        else:  # a word that has no room beside the name has more below it
            yield Segment(f"{2 * INDENT}{head}\n")
            for line in wrapped(cell, max(SHORTEST_VALUE, below)):
                yield Segment(3 * INDENT)
                yield Segment(line, styles.get(cell))
                yield EMPTY_LINE
