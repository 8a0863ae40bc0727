"""How many messages are reserved."""

from __future__ import annotations

import os
from typing import Any

from celery.worker import state as worker_state

from .celery_worker import CeleryWorker
from .channel import TaskChannel
from .drain import Drain
from .green import await_slot
from .slots import Slots

AHEAD = 5  # slots times this are reserved while tasks are short: what Celery's default multiplier amounts to
PATIENCE_TICKS = 5  # what was fetched ahead of tasks that are not short goes back after so many ticks


class Prefetch:
    """Reserves what can run at once, and more while tasks are short, whose time a round trip to Redis would double.

    What waits behind a task that turns out long goes back, so that an idle neighbour can take it.
    """

    def __init__(self, worker: CeleryWorker, slots: Slots, drain: Drain) -> None:
        self._worker, self._slots, self._drain = worker, slots, drain
        self._ahead = False
        self._waits: dict[str, int] = {}  # tag: ticks
        self._starving = False
        self._bell: tuple[int, int] | None = None  # the two ends of a pipe

    def finds_room(self) -> bool:
        """Whether one more message may be fetched.

        On green pools the loop waits here for a slot, as at the gate: else it sleeps up to 2 s, even if one frees up.
        """
        if not self.has_room() and self._worker.is_green():
            await_slot(self._worker, self._drain)
        self._starving = not self.has_room()
        return not self._starving

    def listen(self, hub: Any) -> None:
        """Let the loop wake up when a thread has ended a task; repeat it for each connection, as the hub forgets it."""
        if self._bell is None:
            self._bell = os.pipe()
            for end in self._bell:
                os.set_blocking(end, False)
        hub.add_reader(self._bell[0], self._heard, self._bell[0])

    def ring(self) -> None:
        """Called from any thread when a slot frees up: wake the loop if it had found no room."""
        if self._starving and self._bell is not None:
            self._starving = False
            os.write(self._bell[1], b"!")

    @staticmethod
    def _heard(end: int) -> None:
        os.read(end, 1024)

    def has_room(self) -> bool:
        """Whether one more message may be fetched."""
        return len(worker_state.reserved_requests) < self._worker.most_slots() * (AHEAD if self._ahead else 1)

    def step(self, channel: TaskChannel) -> None:
        """Called by the worker's loop, five times a second."""
        self._ahead = self._slots.are_short()
        self._waits = {tag: self._waits.get(tag, 0) + 1 for tag in self._slots.waiting()}
        late = {tag for tag, ticks in self._waits.items() if ticks > PATIENCE_TICKS}
        if late and not self._ahead:
            self._drain.give_back(channel, late)
