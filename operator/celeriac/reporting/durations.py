"""How long something lasts, in words that do not change with every second: so would the status."""

from typing import Final

_DURATIONS: Final = (
    *((30, "30 s"), (60, "1 min"), (120, "2 min"), (300, "5 min"), (600, "10 min"), (1800, "30 min")),
    *((3600, "1 h"), (7200, "2 h"), (18_000, "5 h"), (43_200, "12 h"), (86_400, "1 day")),
)


def coarse(seconds: float) -> str:
    """The longest of some round durations that is over."""
    return next((words for limit, words in reversed(_DURATIONS) if seconds >= limit), f"{seconds:.0f} s")
