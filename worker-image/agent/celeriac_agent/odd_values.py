"""Values of the application's configuration as the registry and the report can carry them, whatever they are.

Celery and kombu check few of them. What is said of them in Redis is strict JSON of the type that the operator expects:
an odd value must neither keep the agent from starting nor make the operator drop what it says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

DEFAULT_TIMEOUT = 3600.0  # kombu's
DEFAULT_STEPS = (0, 3, 6, 9)  # kombu's


def as_text(value: Any, default: str = "") -> str:
    """A text; None and an empty one are the default."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    # A member of an enumeration of texts is more than its text, and f-strings show the rest of it.
    text = str.__str__(value) if isinstance(value, str) else str(value or "")
    return text or default


def as_count(value: Any, default: int = 0) -> int:
    """A whole number from 0; what is none, and 0, is the default."""
    try:
        count = int(value or default)
    except (TypeError, ValueError, OverflowError):
        return default
    return count if count >= 0 else default


def as_timeout(value: Any) -> float | None:
    """Seconds above 0; None: it never ends, as kombu has it with infinity and with what is no number at all (NaN).

    Everything else that is no such number is the default: too long a timeout costs time, too short a one runs tasks
    twice.
    """
    try:
        seconds = value.total_seconds() if isinstance(value, timedelta) else float(value or DEFAULT_TIMEOUT)
    except OverflowError:
        return None
    except (TypeError, ValueError):
        return DEFAULT_TIMEOUT
    if math.isnan(seconds) or seconds == math.inf:
        return None
    return seconds if seconds > 0 else DEFAULT_TIMEOUT


def as_seconds(value: Any) -> float | None:
    """Seconds above 0, None for everything else."""
    try:
        seconds = value.total_seconds() if isinstance(value, timedelta) else float(value or 0)
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def as_steps(value: Any) -> tuple[int, ...] | None:
    """Priority steps in the order of the application; None where kombu would name lists that nobody else can name.

    kombu writes a step into the name of a list as it is: 3.0 and True make other lists than 3 and 1.
    """
    if value is None or (isinstance(value, Sequence) and not value):
        return DEFAULT_STEPS
    if not isinstance(value, (list, tuple, range)):
        return None
    return tuple(value) if all(type(step) is int and step >= 0 for step in value) else None
