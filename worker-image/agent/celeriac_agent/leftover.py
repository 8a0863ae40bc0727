"""Messages that this worker holds and nothing here will end: put back as kombu would, and at a drain at once.

Celery leaves a message unanswered when a task raises what is no Exception, when a handler of its end fails, and, before
5.7, when a late one runs into its hard limit on a green pool with `acks_on_failure_or_timeout` off. In plain Celery it
counts against the prefetch limit until the worker's end, and runs again after the visibility timeout.
"""

from __future__ import annotations

import time
from collections.abc import Collection

from .celery_worker import requests_in_place
from .channel import TaskChannel
from .counters import Counters
from .drain import Drain
from .registry import Registry
from .slots import Slots

LOOK_SECONDS = 30.0  # between two looks for what has passed the visibility timeout


class Leftover:
    """Looks for such messages."""

    def __init__(self, slots: Slots, drain: Drain, registry: Registry, counters: Counters) -> None:
        self._slots, self._drain, self._registry, self._counters = slots, drain, registry, counters
        self._allowed: set[str] = set()  # tags that were taken off the prefetch limit
        self._next = 0.0

    def connected(self) -> None:
        """With a new connection the limit begins anew, and what was left over has been put back."""
        self._allowed.clear()

    def step(self, channel: TaskChannel) -> None:
        """Called by the worker's loop, five times a second."""
        slots, drain = self._slots, self._drain
        for tag, request in list(slots.unanswered.items()):
            if request.acknowledged:  # by what Celery called after all, as prefork does after a hard limit
                slots.unanswered.pop(tag, None)
        new = set(slots.unanswered) - self._allowed
        if new:
            channel.consumer.qos.increment_eventually(len(new))
            self._allowed |= new
        going: set[str] = set()
        if drain.token is not None and drain.seen == drain.token:
            going = set(slots.unanswered) & set(channel.qos._delivered)
        timeout = self._registry.settings.visibility_timeout  # None: it never ends
        ending = drain.token is not None and not slots.passed
        if timeout is not None and (ending or time.monotonic() >= self._next):
            self._next = time.monotonic() + min(LOOK_SECONDS, timeout / 2)
            going |= self._delivered_before(channel, time.time() - timeout)
        if going:
            self._put_back(channel, going)

    def _delivered_before(self, channel: TaskChannel, moment: float) -> set[str]:
        """What was delivered before a moment, in Unix seconds, and is in none of Celery's places.

        Jobs of an application may be about any of it: while one runs, only what Celery left unanswered is looked at.
        """
        slots, qos = self._slots, channel.qos
        busy = slots.tags() | qos._dirty | self._drain.held | self._drain.at_gate
        found = {tag: id(message) for tag, message in list(qos._delivered.items()) if tag not in busy}
        if slots.foreign:
            found = {tag: message for tag, message in found.items() if tag in slots.unanswered}
        if found:
            in_place = {id(request.message) for request in requests_in_place(channel.consumer)}
            found = {tag: message for tag, message in found.items() if message not in in_place}
        return self._registry.own.delivered_before(found, moment) if found else set()

    def _put_back(self, channel: TaskChannel, tags: Collection[str]) -> None:
        moved = self._registry.own.restore(died=False, only=tags)
        self._counters.count_restored(moved)
        for tag in tags:
            channel.qos._quick_ack(tag)
            self._slots.unanswered.pop(tag, None)
            if tag in self._allowed:
                self._allowed.discard(tag)
                channel.consumer.qos.decrement_eventually()
