"""Keeps what this process holds in keys of its own: on each of its connections, and only where somebody finds them."""

from __future__ import annotations

from typing import Any

import redis

from .celery_worker import CeleryWorker
from .channel import TaskChannel
from .counters import Counters, Telling
from .full_redis import connect_when_full
from .hooks import Hooks
from .refusals import passes
from .registry import Registry


class OwnKeys:
    """The process's own keys: probed and registered first, then in force, or given up before anything is consumed."""

    def __init__(self, worker: CeleryWorker, hooks: Hooks, registry: Registry, counters: Counters) -> None:
        self._worker, self._hooks = worker, hooks
        self._registry, self._counters = registry, counters
        self._settings = registry.settings

    def prepare(self, connection: Any) -> None:
        """Called with each connection that the worker is going to consume through, before it is made."""
        if not self._hooks.inflight:
            return
        try:
            self._settings.prepare(connection)
            if self._hooks.have("refusals"):
                connect_when_full(connection)
        except Exception as error:
            self._counters.failed("prepare a connection", error)

    def use(self, channel: TaskChannel) -> None:
        """Make the process known, then let the connection use its keys: Redis may refuse the one, the application both.

        Raises redis-py's errors of the connection, and those that pass: it is tried again with the next one.
        """
        if self._hooks.inflight and not self._settings.can_be_told:
            self._counters.failed("use priority_steps that are not all whole numbers", ValueError())
            self.give_up(channel, "transport-options")
        if self._hooks.inflight and not channel.keeps_messages():
            self._counters.failed("keep what this worker holds", Telling("ack_emulation is off"))
            self.give_up(channel, "ack-emulation")
        if not self._hooks.inflight:
            return
        try:
            self._registry.register(self._worker.queues())
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
            raise
        except Exception as error:
            if passes(error) and not self._registry.registered:
                raise
            self._counters.failed("register", error)
            self._hooks.refused = self._registry.refused
            if not self._registry.registered:  # else the entry is there, and so are the messages that it tells of
                self.give_up(channel, "registry")
                return
        if not self._settings.lay_over(channel):
            self._counters.failed("keep messages in keys of its own", ValueError())
            self.give_up(channel, "transport-options")

    def give_up(self, channel: TaskChannel, hook: str) -> None:
        """Nobody would find what an unregistered process holds: leave it to the application's keys and timeout."""
        self._hooks.lose(hook)
        self._settings.take_back(channel)
        if self._registry.registered:
            self._registry.leave()
