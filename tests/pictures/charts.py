"""Panels with a time axis: curves, and rows of states."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.ticker import FuncFormatter, MaxNLocator

from tests.pictures.data import Json, Line
from tests.pictures.look import CYCLE, EDGE, FAINT, PANEL, TEXT, color, number, properties, shortened, spread

FILLED = 3
"""Lines up to which the area below each is filled: more would hide each other."""
LEGENDS = 9
"""Series that a legend names."""


def curves(axes: Any, panel: Json, lines: Sequence[Line], marks: Mapping[str, Sequence[float]], span: float) -> None:
    """Lines over time, stacked where the panel says so, some on the right axis."""
    field = panel["fieldConfig"]
    custom, unit = field["defaults"]["custom"], field["defaults"]["unit"]
    _time_axis(axes, span)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value, unit)))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=unit == "short" and spread_of(lines) > 3))
    right = None
    below: dict[float, float] = {}
    names = []
    stacked = custom["stacking"]["mode"] == "normal"
    shown = [line for line in lines if not stacked or spread(line.values)] or lines
    for index, line in enumerate(shown[: len(CYCLE) * 2]):
        own = properties(field, "byFrameRefID", line.ref) | properties(field, "byName", line.name)
        shade = color(own["color"]["fixedColor"]) if "color" in own else CYCLE[index % len(CYCLE)]
        target = axes
        if own.get("custom.axisPlacement") == "right":
            right = right or axes.twinx()
            target = right
        values = list(line.values)
        if stacked:
            base = [below.get(moment, 0.0) for moment in line.moments]
            values = [low + (0.0 if math.isnan(value) else value) for low, value in zip(base, values, strict=True)]
            below |= dict(zip(line.moments, values, strict=True))
            target.fill_between(line.moments, base, values, color=shade, alpha=0.35, lw=0, step="post")
        elif own.get("custom.fillOpacity", 8) and len(lines) <= FILLED:
            target.fill_between(line.moments, values, color=shade, alpha=0.08, lw=0, step="post")
        width = own.get("custom.lineWidth", 1) + 0.2
        target.plot(line.moments, values, color=shade, lw=width, drawstyle="steps-post")
        names.append((shade, line.name or panel["title"].lower()))
    if right is not None:
        _bare(right)
        right.set_ylim(0, max(1.0, right.get_ylim()[1] * 1.1))
        right.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    most = spread_of(lines)
    axes.set_ylim(0, max(axes.get_ylim()[1], 1e-3) * 1.05 if most else 1)
    if custom["thresholdsStyle"]["mode"] == "line":
        for step in field["defaults"]["thresholds"]["steps"][1:]:
            axes.axhline(step["value"], color=color(step["color"]), lw=1, ls="--")
    _annotations(axes, marks)
    if not lines:
        axes.text(0.5, 0.5, "nothing in this time", transform=axes.transAxes, color=FAINT, ha="center", fontsize=8)
    _legend(axes, names)


def bars(axes: Any, panel: Json, lines: Sequence[Line], marks: Mapping[str, Sequence[float]], span: float) -> None:
    """A row for each series, coloured by what its values mean."""
    field = panel["fieldConfig"]
    _time_axis(axes, span)
    axes.grid(False)
    meanings: dict[str, str] = {}
    for index, line in enumerate(lines):
        own = properties(field, "byName", line.name)
        words = own.get("mappings", field["defaults"]["mappings"])[0]["options"]
        for begin, end, value in _stretches(line, span):
            meaning = words.get(f"{value:g}")
            if meaning is not None:
                axes.broken_barh([(begin, end - begin)], (index - 0.4, 0.8), color=color(meaning["color"]), lw=0)
                meanings.setdefault(color(meaning["color"]), meaning["text"])
    axes.set_yticks(range(len(lines)), [shortened(line.name, 20) for line in lines])
    axes.set_ylim(max(len(lines), 1) - 0.4, -0.6)
    box = axes.get_position()
    axes.set_position([box.x0 + 0.055, box.y0, box.width - 0.055, box.height])
    _annotations(axes, marks)
    if len(meanings) > 1 or "decided" not in meanings.values():
        return
    _legend(axes, [])


def spread_of(lines: Sequence[Line]) -> float:
    """The greatest value of all."""
    return max((spread(line.values) for line in lines), default=0.0)


def _stretches(line: Line, span: float) -> list[tuple[float, float, float]]:
    """Begin, end and value of each time in which a series keeps its value."""
    found: list[tuple[float, float, float]] = []
    moments = [*line.moments, min(line.until, span)]
    for moment, following, value in zip(moments, moments[1:], line.values, strict=False):
        if math.isnan(value):
            continue
        if found and found[-1][2] == value and math.isclose(found[-1][1], moment):
            found[-1] = (found[-1][0], following, value)
        else:
            found.append((moment, following, value))
    return found


def _time_axis(axes: Any, span: float) -> None:
    axes.set_facecolor(PANEL)
    _bare(axes)
    axes.set_xlim(0, span)
    axes.grid(True, color=EDGE, lw=0.6)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 3, 6, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{int(value // 60)}:{int(value % 60):02d}"))


def _bare(axes: Any) -> None:
    axes.tick_params(colors=FAINT, labelsize=7, length=0, pad=3)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _annotations(axes: Any, marks: Mapping[str, Sequence[float]]) -> None:
    for name, moments in marks.items():
        for moment in moments:
            axes.axvline(moment, color=color(name), lw=0.9, ls=(0, (4, 3)), alpha=0.9)


def _legend(axes: Any, names: Sequence[tuple[str, str]]) -> None:
    """The names under the curves, as many as have room."""
    box = axes.get_position()
    width, height = axes.figure.get_size_inches()
    x, end = box.x0 * width - 0.25, box.x1 * width
    y = box.y0 - 0.31 / height
    for shade, name in names[:LEGENDS]:
        text = shortened(name, 34)
        needed = 0.24 + 0.066 * len(text)
        if x + needed > end + 0.2:
            break
        axes.figure.text(x / width, y, "━", color=shade, fontsize=8, va="center")
        axes.figure.text((x + 0.14) / width, y, text, color=TEXT, fontsize=7, va="center")
        x += needed
