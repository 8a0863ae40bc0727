"""Tells Redis which messages were started: a death counts for these only."""

from __future__ import annotations

import threading
from typing import Any

from .celery_worker import CeleryWorker
from .hooks import Hooks
from .messages import STARTED_SCORE
from .registry import Registry
from .slots import Slot


class StartedMarks:
    """Marks started messages in the index of unacked messages, without waiting for Redis.

    A message that merely waited in a worker that died is innocent.
    """

    def __init__(self, worker: CeleryWorker, hooks: Hooks, registry: Registry) -> None:
        self._worker, self._hooks, self._registry = worker, hooks, registry
        self._connection: Any = None
        self._replies = 0
        self._lock = threading.Lock()

    def mark(self, slot: Slot) -> None:
        """Mark the message of a request that has begun, unless it is acknowledged by now."""
        late = slot.request.task.acks_late or self._worker.is_solo()
        if late and self._registry.client is not None and self._hooks.inflight and self._hooks.have("started-mark"):
            self._send(slot.tag)

    def collect(self) -> None:
        """Read the replies that have arrived since."""
        with self._lock:
            try:
                while self._replies and self._connection.can_read(timeout=0):
                    self._replies -= 1
                    self._connection.read_response()
            except Exception:
                self._drop()

    def reconnect(self) -> None:
        """Use the registry's new client from now on."""
        with self._lock:
            self._drop()

    def _send(self, tag: str) -> None:
        """Send one command; ZADD XX does nothing for a message that has been acknowledged since."""
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._registry.client.connection_pool.make_connection()
                    self._connection.connect()
                keys = self._registry.settings.keys
                index = keys.prefix + keys.index
                command = self._connection.pack_command("ZADD", index, "XX", "INCR", int(STARTED_SCORE), tag)
                self._connection.send_packed_command(command, check_health=False)
                self._replies += 1
            except Exception:
                self._drop()

    def _drop(self) -> None:
        connection, self._connection, self._replies = self._connection, None, 0
        if connection is not None:
            connection.disconnect()
