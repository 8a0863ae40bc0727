"""A dashboard as a picture: each panel of its JSON at its place, by its type, its unit, its colours."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from tests.dashboards.board import COLUMNS
from tests.pictures.charts import bars, curves
from tests.pictures.data import Json, Line
from tests.pictures.look import (
    BACKGROUND,
    EDGE,
    FAINT,
    PANEL,
    TEXT,
    color,
    ink,
    number,
    properties,
    shortened,
    stepped,
)

WIDTH = 15.0
"""Inches of a whole picture."""
UNIT = 0.36
"""Inches of one row of the grid; in Grafana 30 of 1,400 pixels or so."""
DPI = 96
HEAD = 0.55
COLORS_KEPT = 96
"""Colours of a picture: small files, and nobody sees it."""


class Picture:
    """The figure, with an area for each panel."""

    def __init__(self, dashboard: Json, choice: Mapping[str, str], rows: int) -> None:
        self.height = rows * UNIT + HEAD
        self.figure = Figure(figsize=(WIDTH, self.height), facecolor=BACKGROUND, dpi=DPI)
        chosen = "   ".join(f"{name}: {value}" for name, value in choice.items())
        self._say(0.1, HEAD / 2, dashboard["title"], size=14, weight="bold", color=TEXT)
        self._say(WIDTH - 0.1, HEAD / 2, chosen, size=9, color=FAINT, ha="right")

    def area(self, place: Mapping[str, int]) -> tuple[float, float, float, float]:
        """Left, top, width, height of a panel, in inches from the upper left."""
        column = (WIDTH - 0.1) / COLUMNS
        return 0.05 + place["x"] * column, HEAD + place["y"] * UNIT, place["w"] * column, place["h"] * UNIT

    def draw(self, panel: Json, lines: Sequence[Line], marks: Mapping[str, Sequence[float]], span: float) -> None:
        """One panel with its data; `marks`: colour -> moments of annotations."""
        left, top, width, height = self.area(panel["gridPos"])
        if panel["type"] == "row":
            self._say(left + 0.08, top + height / 2, f"⌄  {panel['title']}", size=10, weight="bold", color=TEXT)
            return
        self._frame(left + 0.03, top + 0.03, width - 0.06, height - 0.06)
        self._say(
            left + 0.12, top + 0.19, shortened(panel["title"], int(width * 13)), size=8.5, weight="bold", color=TEXT
        )
        inside = (left + 0.12, top + 0.34, width - 0.24, height - 0.44)
        if panel["type"] == "stat" and panel["options"]["colorMode"] == "background":
            self._tiles(panel, lines, inside)
        elif panel["type"] == "stat":
            self._stat(panel, lines, inside)
        elif panel["type"] == "table":
            self._table(panel, lines, inside)
        else:
            x, y, w, h = inside
            axes = self.figure.add_axes(self._part(x + 0.46, y + 0.02, w - 0.6, h - 0.42))
            (bars if panel["type"] == "state-timeline" else curves)(axes, panel, lines, marks, span)

    def save(self, file: Path) -> None:
        """As a PNG with few colours."""
        memory = io.BytesIO()
        self.figure.savefig(memory, format="png", facecolor=BACKGROUND)
        image = (
            Image.open(memory)
            .convert("RGB")
            .quantize(COLORS_KEPT, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        )
        image.save(file, optimize=True)

    def cut(self, panel: Json, file: Path, part: Path) -> None:
        """One panel of the picture that was saved in `file`, as a picture of its own."""
        left, top, width, height = (round(inches * DPI) for inches in self.area(panel["gridPos"]))
        with Image.open(file) as whole:
            whole.crop((left, top, left + width, top + height)).save(part, optimize=True)

    def _part(self, left: float, top: float, width: float, height: float) -> tuple[float, float, float, float]:
        """An area as matplotlib has it: parts of the figure, from the lower left."""
        return left / WIDTH, 1 - (top + height) / self.height, width / WIDTH, height / self.height

    def _frame(self, left: float, top: float, width: float, height: float, fill: str = PANEL, edge: str = EDGE) -> None:
        x, y, w, h = self._part(left, top, width, height)
        place: Any = {"transform": self.figure.transFigure, "facecolor": fill, "edgecolor": edge, "lw": 0.6}
        self.figure.add_artist(Rectangle((x, y), w, h, zorder=-1, **place))

    def _say(self, left: float, top: float, text: str, **style: Any) -> None:
        style = {"va": "center", "ha": "left", **style}
        self.figure.text(left / WIDTH, 1 - top / self.height, text, fontsize=style.pop("size", 8), **style)

    def _stat(self, panel: Json, lines: Sequence[Line], inside: tuple[float, float, float, float]) -> None:
        left, top, width, height = inside
        defaults, options = panel["fieldConfig"]["defaults"], panel["options"]
        if not lines:
            text, shade = defaults["noValue"], color("text")
        else:
            value = lines[0].last
            text = number(value, defaults["unit"], defaults.get("decimals"))
            shade = stepped(value, defaults["thresholds"])
            if options["textMode"] == "name":
                text = lines[0].name
        if lines and options["graphMode"] == "area" and len(lines[0].values) > 1:
            axes = self.figure.add_axes(self._part(left - 0.06, top + height * 0.55, width + 0.12, height * 0.45))
            axes.fill_between(lines[0].moments, lines[0].values, color=shade, alpha=0.18, lw=0, step="post")
            axes.plot(lines[0].moments, lines[0].values, color=shade, alpha=0.6, lw=0.8, drawstyle="steps-post")
            axes.set_axis_off()
            axes.set_ylim(bottom=0)
        size = min(22.0, width * 100 / max(len(text), 4))
        self._say(left + width / 2, top + height * 0.42, text, size=size, ha="center", color=shade, weight="bold")

    def _tiles(self, panel: Json, lines: Sequence[Line], inside: tuple[float, float, float, float]) -> None:
        left, top, width, height = inside
        count = max(len(lines), 1)
        columns = max(1, round(math.sqrt(count * width / height / 4)))
        rows = math.ceil(count / columns)
        w, h = width / columns, height / rows
        for index, line in enumerate(sorted(lines, key=lambda each: -each.last)):
            x, y = left + index % columns * w, top + index // columns * h
            shade = stepped(line.last, panel["fieldConfig"]["defaults"]["thresholds"])
            self._frame(x + 0.01, y + 0.01, w - 0.02, h - 0.02, fill=shade, edge=shade)
            text = shortened(line.name, int(w * 18))
            self._say(x + w / 2, y + h / 2, text, size=min(9.0, 18 * h + 2), ha="center", color=ink(shade))

    def _table(self, panel: Json, lines: Sequence[Line], inside: tuple[float, float, float, float]) -> None:
        left, top, width, height = inside
        organize = panel["transformations"][-1]["options"]
        headings = {
            name: title for name, title in organize["renameByName"].items() if name not in organize["excludeByName"]
        }
        rows = _rows(lines, headings, organize)
        headings = {name: title for name, title in headings.items() if any(name in row for row in rows)}
        sort = panel["options"]["sortBy"][0]
        key = next((name for name, title in headings.items() if title == sort["displayName"]), "")
        rows.sort(key=lambda row: _sortable(row.get(key, -math.inf)), reverse=sort["desc"])
        size = 0.23
        weights = {name: 1.0 if name.startswith("Value") else 1.7 for name in headings}
        starts, x = {}, left
        for name, weight in weights.items():
            starts[name], x = x, x + width * weight / sum(weights.values())
        for name, title in headings.items():
            self._say(starts[name] + 0.04, top + size / 2, title, size=8, color=color("blue"), weight="bold")
        shown = int((height - size) / size)
        for index, row in enumerate(rows[:shown]):
            y = top + (index + 1) * size
            for name, title in headings.items():
                if name in row:
                    cell = starts[name], y, width * weights[name] / sum(weights.values()), size
                    self._cell(panel["fieldConfig"], title, row[name], cell)

    def _cell(self, field: Json, title: str, value: Any, place: tuple[float, float, float, float]) -> None:
        left, top, width, height = place
        own = properties(field, "byName", title)
        if isinstance(value, str):
            self._say(left + 0.04, top + height / 2, shortened(value, int(width * 14)), size=8, color=TEXT)
            return
        unit = own.get("unit", field["defaults"]["unit"])
        shade = TEXT
        if own.get("custom.cellOptions", {}).get("type") == "color-background" and not math.isnan(value):
            fill = stepped(value, own["thresholds"])
            self._frame(left, top + 0.01, width - 0.03, height - 0.02, fill=fill, edge=fill)
            shade = ink(fill)
        self._say(left + 0.04, top + height / 2, number(value, unit, own.get("decimals")), size=8, color=shade)


def _rows(lines: Sequence[Line], headings: Mapping[str, str], organize: Json) -> list[dict[str, Any]]:
    """The merged rows: labels as they are, the value of each query in its column."""
    rows: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
    only = "Value" in organize["indexByName"]
    for line in lines:
        labels = {name: value for name, value in line.labels.items() if name in headings}
        row = rows.setdefault(tuple(sorted(labels.items())), dict(labels))
        column = "Value" if only else f"Value #{line.ref}"
        if column in headings:
            row[column] = line.last
    return list(rows.values())


def _sortable(value: Any) -> tuple[int, Any]:
    if isinstance(value, str):
        return 0, value
    return 0, -math.inf if math.isnan(value) else value
