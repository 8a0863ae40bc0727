"""What the agent has done, and what it could not do, for the report."""

from __future__ import annotations

import threading

from celery.utils.log import get_logger

from .inflight import Moved

logger = get_logger("celeriac")


class Telling(Exception):
    """An error of the agent's own: its text holds neither an address nor anything of a message."""


class Counters:
    """Messages since the start of this process, and errors; these are logged, too, once for each kind."""

    def __init__(self) -> None:
        self.delivered = self.given_back = self.restored = self.dead = self.errors = 0
        self._told: set[str] = set()
        self._silent: threading.Thread | None = None

    def count_given_back(self, moved: Moved) -> None:
        """Count messages that were not started and went back."""
        self.given_back += moved.queued
        self.dead += moved.dead

    def count_restored(self, moved: Moved) -> None:
        """Count messages that were put back after a reconnect or a death."""
        self.restored += moved.queued
        self.dead += moved.dead

    def failed(self, what: str, error: BaseException) -> None:
        """Count an error and log its kind once; the text of others' might hold an address or a message."""
        self.errors += 1
        why = str(error) if isinstance(error, Telling) else type(error).__name__
        kind = f"{what}: {why}"
        if kind not in self._told and threading.current_thread() is not self._silent:
            self._told.add(kind)
            logger.warning("Celeriac's agent could not %s (%s)", what, why)

    def log_nothing_from(self, thread: threading.Thread) -> None:
        """Only count what fails in that thread."""
        self._silent = thread
