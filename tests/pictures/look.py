"""How the pictures look: colours, and numbers in the units of Grafana."""

import math
import re
from collections.abc import Sequence
from typing import Any, Final

BACKGROUND: Final = "#111217"
PANEL: Final = "#181b1f"
EDGE: Final = "#2c3035"
TEXT: Final = "#d5d9e0"
FAINT: Final = "#8e949d"
COLORS: Final = {
    "green": "#73bf69",
    "yellow": "#f2cc0c",
    "orange": "#ff9830",
    "red": "#e0465a",
    "blue": "#5794f2",
    "purple": "#b877d9",
    "text": TEXT,
    "transparent": PANEL,
}
CYCLE: Final = (
    "#73bf69",
    "#f2cc0c",
    "#5794f2",
    "#ff9830",
    "#e0465a",
    "#b877d9",
    "#8ab8ff",
    "#c8f2c2",
    "#ffa6b0",
    "#ca95e5",
)


def color(name: str) -> str:
    """A colour of Grafana's by its name, or as it is."""
    return COLORS.get(name, name)


def stepped(value: float, thresholds: dict[str, Any]) -> str:
    """The colour of a value by thresholds."""
    found = "text"
    for step in thresholds["steps"]:
        if step["value"] is None or value >= step["value"]:
            found = step["color"]
    return color(found)


def number(value: float, unit: str, decimals: int | None = None) -> str:
    """A value with its unit, as short as Grafana writes it."""
    if math.isnan(value):
        return "-"
    if unit == "percentunit":
        return f"{value:.0%}" if value == 0 or value >= 0.1 else f"{value:.1%}"
    if unit == "bytes":
        return f"{value / 2**20:.4g} MiB"
    if unit == "s":
        return _seconds(value)
    text = f"{value:.{decimals}f}" if decimals is not None else _plain(value)
    return text + {"cps": "/s", "reqps": " req/s"}.get(unit, "")


def _plain(value: float) -> str:
    for size, word in ((1e6, " M"), (1e3, " K")):
        if abs(value) >= size:
            return f"{value / size:.3g}{word}"
    return f"{value:.3g}"


def _seconds(value: float) -> str:
    if value == 0:
        return "0 s"
    for size, word in ((3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms")):
        if abs(value) >= size:
            return f"{value / size:.3g} {word}"
    return f"{value * 1e6:.3g} µs"


def ink(background: str) -> str:
    """Dark or light text, by what it stands on."""
    red, green, blue = (int(background[at : at + 2], 16) for at in (1, 3, 5))
    return "#111217" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#ffffff"


def shortened(text: str, length: int) -> str:
    """No longer than so many characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def properties(field: dict[str, Any], matcher: str, value: str) -> dict[str, Any]:
    """The overrides of a field, by its name or the reference of its query."""
    found: dict[str, Any] = {}
    for override in field["overrides"]:
        match = override["matcher"]
        is_named = match["id"] == matcher and match["options"] == value
        is_like = match["id"] == "byRegexp" and matcher == "byName" and re.search(match["options"], value)
        if is_named or is_like:
            found |= {each["id"]: each["value"] for each in override["properties"]}
    return found


def spread(values: Sequence[float]) -> float:
    """The greatest of the values that are numbers, 0 where there is none."""
    return max((value for value in values if not math.isnan(value)), default=0.0)
