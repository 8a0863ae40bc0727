"""The status of a pool as the API server gives it: what of it the operator could have written itself, and nothing else.

Whoever may write the status subresource may write anything there, and an older CRD let more pass. What is of another
type, out of bounds or of no known name is left out, so that nobody who reads a status has to look again. Pure.
"""

import math
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from celeriac.pool.layouts import layout_fields, layout_of

MOST: Final = 2**53 - 1
"""The greatest number of any field, as in the CRD."""
MOST_CONDITIONS: Final = 32

Reader = Callable[[Any], Any]
"""Returns what can be believed of a value; ValueError where nothing can."""


def told_status(status: object) -> tuple[dict[str, Any], bool]:
    """What of a status can be believed, and whether that is all of it."""
    if status is None:
        return {}, True
    if not isinstance(status, Mapping):
        return {}, False
    told, whole = _object(status, _FIELDS)
    found = status.get("conditions")
    if found is not None:
        told["conditions"], all_of_them = _conditions(found)
        whole &= all_of_them
    return told, whole


def _object(value: Mapping[str, Any], fields: Mapping[str, Reader]) -> tuple[dict[str, Any], bool]:
    told: dict[str, Any] = {}
    for name, read in fields.items():
        if name in value:
            try:
                told[name] = read(value[name])
            except ValueError:
                continue
    return told, len(told) == len(value.keys() - {"conditions"})


def _conditions(value: object) -> tuple[list[dict[str, Any]], bool]:
    """Those that are whole, the first of each type."""
    if not isinstance(value, list):
        return [], False
    told: dict[str, dict[str, Any]] = {}
    for each in value[:MOST_CONDITIONS]:
        condition, whole = _object(each, _CONDITION) if isinstance(each, Mapping) else ({}, False)
        if whole and condition.keys() >= _REQUIRED:
            told.setdefault(condition["type"], condition)
    return list(told.values()), len(told) == len(value)


def _text(most: int, least: int = 0) -> Reader:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not least <= len(value) <= most:
            raise ValueError
        return sys.intern(str(value))  # a thousand pools say the same few sentences

    return read


def _lease(value: Any) -> str:
    """The namespace and name of one."""
    name: str = _text(320)(value)
    if name.count("/") != 1:
        raise ValueError
    return name


def _count(least: int = 0, most: int = MOST) -> Reader:
    def read(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError
        return value

    return read


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= MOST or not math.isfinite(value):
        raise ValueError
    number: float = value
    return number


def _one_of(*words: str) -> Reader:
    def read(value: Any) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError
        return value

    return read


def _time(value: Any) -> str:
    """RFC 3339, as an API server takes it: with an offset, in lower case too."""
    text: str = _text(64)(value).upper()
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError
    return text


def _layout(value: Any) -> dict[str, Any]:
    layout = layout_of(value) if isinstance(value, Mapping) else None
    if layout is None or len(value) != len(fields := layout_fields(layout)):
        raise ValueError
    return fields


def _decision(value: Any) -> dict[str, Any]:
    told, whole = _object(value, _DECISION) if isinstance(value, Mapping) else ({}, False)
    if not whole or len(told) < len(_DECISION):
        raise ValueError
    return told


RESTARTS: Final = ("restartedWorkers", "restartsInVain")
_COUNTS: Final = ("waiting", "running", "scheduled", "reserved", "heldElsewhere", "deadLetters", *RESTARTS)
_REPLICAS: Final = ("replicas", "readyReplicas", "desiredReplicas")
_NUMBERS: Final = (
    *("oldestTaskSeconds", "taskRuntimeSeconds", "arrivalsPerSecond", "departuresPerSecond", "coldStartSeconds"),
    "idleSeconds",
)
_DECISION: Final[Mapping[str, Reader]] = {"reason": _text(128), "message": _text(2048), "time": _time}
_REQUIRED: Final = {"type", "status", "lastTransitionTime", "reason", "message"}
_CONDITION: Final[Mapping[str, Reader]] = {
    "type": _text(316, 1),
    "status": _one_of("True", "False", "Unknown"),
    "observedGeneration": _count(-1),
    "lastTransitionTime": _time,
    "reason": _text(1024, 1),
    "message": _text(32768),
}
_FIELDS: Final[Mapping[str, Reader]] = {
    "observedGeneration": _count(-1),
    "selector": _text(1024),
    "operator": _lease,
    "idleSince": _time,
    "learnedLayout": _layout,
    "decision": _decision,
    **dict.fromkeys(_COUNTS, _count()),
    **dict.fromkeys(_REPLICAS, _count(most=2**31 - 1)),
    **dict.fromkeys(_NUMBERS, _number),
}
