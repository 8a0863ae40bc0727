"""What runs, where the gate is not there to tell: looked at now and then, and nothing replaced."""

from __future__ import annotations

import time

from .celery_worker import active_requests
from .counters import Counters
from .hooks import EXACT, Hooks
from .slots import Slot, Slots
from .started import StartedMarks


class Sampler:
    """Adds up busy time from looks at Celery's own set of running requests, and marks those that were started.

    Tasks that begin and end between two looks are counted by chance, which is right in the mean. Of solo workers only
    another thread can look: a task blocks the loop.
    """

    def __init__(self, hooks: Hooks, slots: Slots, started: StartedMarks, counters: Counters) -> None:
        self._hooks, self._slots = hooks, slots
        self._started, self._counters = started, counters
        self._looked_at: float | None = None  # monotonic seconds
        self._seen: set[str] = set()  # delivery tags of what ran at the last look

    def look(self) -> None:
        """Look once; several times a second."""
        if self._hooks.have(*EXACT):
            return
        try:
            now, running = time.monotonic(), {request.message.delivery_tag: request for request in active_requests()}
            if self._looked_at is not None:
                self._slots.add_busy(len(running) * (now - self._looked_at))
            for tag in running.keys() - self._seen:
                self._started.mark(Slot(request=running[tag], tag=tag))
            self._looked_at, self._seen = now, set(running)
        except Exception as error:
            self._counters.failed("look at what runs", error)
