"""How a pool's queues are laid out: what the spec says, else what the pool's own workers have said, else kombu's way.

An application may set `sep` and `priority_steps` among its transport options, and its owner need not know that the
operator reads the same lists. What a worker says is believed within bounds: it makes names of keys.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from celeriac.api.words import foreign, holds_line_end
from celeriac.pool.model import QueueLayout, WorkerPool

MAX_PRIORITY: Final = 255
MOST_STEPS: Final = 32
LONGEST_SEPARATOR: Final = 16  # characters

SEPARATOR: Final = "separator"
PRIORITY_STEPS: Final = "prioritySteps"


def is_believable(layout: QueueLayout) -> bool:
    """Whether the lists of such a layout can be read: few steps, from 0 up, as spec.broker has them."""
    steps = layout.priority_steps
    return (
        1 <= len(layout.separator) <= LONGEST_SEPARATOR
        and not holds_line_end(layout.separator)
        and 1 <= len(steps) <= MOST_STEPS
        and steps[0] == 0
        and list(steps) == sorted(set(steps))
        and steps[-1] <= MAX_PRIORITY
    )


def effective_layout(pool: WorkerPool, learned: QueueLayout | None) -> QueueLayout:
    """The layout to read. The spec wins where it says something; the key prefix is always its own."""
    own = pool.broker.layout
    if learned is None:
        return own
    return replace(
        own,
        separator=own.separator if SEPARATOR in pool.layout_said else learned.separator,
        priority_steps=own.priority_steps if PRIORITY_STEPS in pool.layout_said else learned.priority_steps,
    )


def layout_difference(pool: WorkerPool, told: QueueLayout) -> str | None:
    """In what a worker reads other lists than the operator, which has learned all that it may; None: in nothing."""
    if not is_believable(told):
        return (
            f"reads queues with separator {_quoted(told.separator)} and {len(told.priority_steps)} priority steps, as"
            f" the operator cannot: let sep have 1 to {LONGEST_SEPARATOR} characters and no line end, and"
            f" priority_steps ascend from 0 to at most {MAX_PRIORITY}, with at most {MOST_STEPS} of them"
        )
    read = effective_layout(pool, told)
    differences = [
        f"{what} {_quoted(theirs)} instead of {_quoted(ours)}: set spec.broker.{name}: {_quoted(theirs)}"
        for name, what, theirs, ours in (
            (SEPARATOR, "the separator", told.separator, read.separator),
            (PRIORITY_STEPS, "the priority steps", told.priority_steps, read.priority_steps),
        )
        if theirs != ours
    ]
    return f"reads queues with {'; and '.join(differences)}, or change the app's" if differences else None


def layout_words(layout: QueueLayout) -> str:
    """A layout in words, each field as it can be written into spec.broker."""
    return f"{SEPARATOR}: {_quoted(layout.separator)} and {PRIORITY_STEPS}: {_quoted(layout.priority_steps)}"


def layout_fields(layout: QueueLayout) -> dict[str, Any]:
    """What was learned, as status.learnedLayout has it."""
    return {SEPARATOR: layout.separator, PRIORITY_STEPS: list(layout.priority_steps)}


def layout_of(fields: Mapping[str, Any] | None) -> QueueLayout | None:
    """status.learnedLayout back; None where there is none, or none that can be believed."""
    separator, steps = (fields or {}).get(SEPARATOR), (fields or {}).get(PRIORITY_STEPS)
    if not isinstance(separator, str) or not isinstance(steps, list) or any(type(step) is not int for step in steps):
        return None
    layout = QueueLayout(separator=separator, priority_steps=tuple(steps))
    return layout if is_believable(layout) else None


def _quoted(value: str | tuple[int, ...]) -> str:
    """As YAML and JSON have it, so that it can be pasted; control characters are escaped."""
    return foreign(json.dumps(value if isinstance(value, str) else list(value)))
