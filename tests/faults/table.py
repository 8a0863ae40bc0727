"""The table of docs/faults.md: which fault is shown by which story, and what was measured last.

CELERIAC_WRITE_FIGURES=1 make faults FULL=1     # the figures of the stories that ran go into the table
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "faults.md"
FIGURE = "figure"
ROW = re.compile(r"^\| (?P<fault>[^|]+) \| (?P<invariant>[^|]+) \| `(?P<story>[^`|]+)` \|(?P<figure>[^|]*)\|$")


class Row(NamedTuple):
    """One line of the table."""

    fault: str
    invariant: str
    story: str
    """Path below tests/, `::`, and the name of the function."""
    figure: str

    def __str__(self) -> str:
        return f"| {self.fault} | {self.invariant} | `{self.story}` | {self.figure} |".replace("|  |", "| |")


def rows() -> Iterator[Row]:
    """All lines of the table."""
    for line in PAGE.read_text().splitlines():
        if found := ROW.match(line):
            yield Row(*(part.strip() for part in found.groups()))


def measured(reports: Iterable[Any]) -> dict[str, str]:
    """What the stories of a run said that they measured, by story: of the same thing the least and the most."""
    values: dict[str, dict[tuple[str, str], list[float]]] = {}
    for report in reports:
        story = report.nodeid.removeprefix("tests/").partition("[")[0]
        for key, told in report.user_properties:
            if key == FIGURE and report.when == "call":
                name, value, unit = told
                values.setdefault(story, {}).setdefault((name, unit), []).append(value)
    return {story: ", ".join(_told(*each) for each in figures.items()) for story, figures in sorted(values.items())}


def write(figures: Mapping[str, str]) -> None:
    """Put the figures of a run into the table; the rows of other stories stay as they are."""
    lines = PAGE.read_text().splitlines()
    for number, line in enumerate(lines):
        if (found := ROW.match(line)) and (told := figures.get(found["story"])):
            lines[number] = str(Row(*(part.strip() for part in found.groups()))._replace(figure=told))
    PAGE.write_text("\n".join(lines) + "\n")


def rounded(value: float) -> str:
    """Two digits that count, and whole numbers whole."""
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


def _told(what: tuple[str, str], values: list[float]) -> str:
    name, unit = what
    least, most = rounded(min(values)), rounded(max(values))
    return f"{name} {least if least == most else f'{least} to {most}'} {unit}".strip()
