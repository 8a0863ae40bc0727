"""The operator's drain mark, and giving back what was not started."""

from __future__ import annotations

import time
import weakref
from collections.abc import Collection, Mapping
from typing import Any

from celery.worker import state as worker_state
from kombu.utils.json import dumps

from .celery_worker import CeleryWorker, eta_entries, forget_request, reserved_requests, send_pending
from .channel import TaskChannel
from .counters import Counters
from .inflight import Moved
from .registry import Registry
from .slots import Slots
from .unwritten import Unwritten

LOOP_SECONDS = 1.0  # the worker's loop does nothing else for so long, its reports included


class Drain:
    """The mark in force, and how far the loop has obeyed it.

    The gate and the channel look at `token` at each message; giving back is done by the loop alone, once no BRPOP is
    pending, so that everything goes back at once and in order.
    """

    def __init__(
        self, worker: CeleryWorker, slots: Slots, registry: Registry, unwritten: Unwritten, counters: Counters
    ) -> None:
        self._worker, self._slots, self._unwritten = worker, slots, unwritten
        self._registry, self._counters = registry, counters
        self._watched: weakref.WeakSet[Any] = weakref.WeakSet()  # kombu channels that do not fetch under a mark
        self.token: str | None = None
        self.seen: str | None = None
        self.at_gate: set[str] = set()  # tags whose greenlets wait for a slot
        self._unsure: set[str] = set()  # tags that may have been moved: no answer came
        self.held: set[str] = set()  # tags that were taken from Celery: nothing here starts them, and they go back
        self.giving = False  # messages are going back right now: of green pools, in another greenlet

    def is_closed(self) -> bool:
        """Whether nothing may start: a mark, or the worker ends and puts back at its end what it had not started."""
        return bool(self.token) or self._worker.is_told_to_stop()

    def watch(self, raw: Any) -> None:
        """Keep a kombu channel from fetching under a mark."""
        if raw in self._watched:
            return
        self._watched.add(raw)
        start = raw._brpop_start

        def _brpop_start(*args: Any, **kwargs: Any) -> Any:
            return None if self.token else start(*args, **kwargs)

        raw._brpop_start = _brpop_start

    def obey(self, mark: str | None) -> bool:
        """Take a mark, or none, as the one in force; whether that is another one than before."""
        if mark == self.token:
            return False
        self.token, self.seen = mark, None
        return True

    def step(self, channel: TaskChannel) -> None:
        """Called by the worker's loop, five times a second."""
        if self.token is None:
            self.seen = None
            if self.held:
                self.give_back(channel, only=set())
            return
        for raw in channel.siblings():
            self.watch(raw)
        if channel.polling():
            return
        token = self.token
        self.give_back(channel)
        self.seen = token

    def is_quiet(self, channel: TaskChannel) -> bool:
        """Whether the loop has obeyed the mark and nothing is running, waiting, or on its way."""
        if self.token is None or self.token != self.seen or channel.polling():
            return False
        slots = self._slots
        return not (
            self.held
            or self._unwritten.waits()
            or slots.passed
            or slots.settling
            or slots.foreign
            or worker_state.active_requests
            or worker_state.reserved_requests
        )

    def give_back(self, channel: TaskChannel, only: Collection[str] | None = None) -> None:
        """Put what was not started back into its queue: all of it, or what is held and the tags in `only`.

        Called by the loop alone. What Celery might start is taken from it first, even if the move fails then. A message
        that is in none of Celery's places belongs to the application (a strategy may collect messages), and stays.
        """
        if self.giving:
            return
        self.giving = True
        try:
            self._give_back(channel, only)
        finally:
            self.giving = False

    def _give_back(self, channel: TaskChannel, only: Collection[str] | None) -> None:
        qos, slots = channel.qos, self._slots
        send_pending(channel.consumer)
        self.held |= slots.cancel_queued(only)
        busy = slots.tags() | qos._dirty
        delivered = {tag: message for tag, message in list(qos._delivered.items()) if tag not in busy}
        self.held &= set(delivered)
        wanted = {tag for tag in delivered if only is None or tag in only or tag in self.held}
        if not wanted:
            return
        self.held |= self._withdraw(channel.consumer, {id(delivered[tag]) for tag in wanted})
        going = [tag for tag in delivered if tag in self.held]
        if not going:
            return
        moved = Moved()
        try:
            self._registry.own.give_back(going[::-1], moved, until=time.monotonic() + LOOP_SECONDS)
        finally:
            self._settle(qos, moved, delivered)

    def _settle(self, qos: Any, moved: Moved, delivered: Mapping[str, Any]) -> None:
        """Let go what was moved. What Redis has lost is put back from memory: in plain Celery it would run."""
        self._counters.count_given_back(moved)
        lost = moved.absent - self._unsure
        self._unsure = (self._unsure | moved.sent) - moved.gone - moved.kept - moved.absent
        self._let_go(qos, moved.gone | moved.absent - lost)
        for tag in lost:
            self._counters.count_given_back(self._registry.own.push_again(entry_of(delivered[tag])))
            self._let_go(qos, {tag})

    def _let_go(self, qos: Any, tags: set[str]) -> None:
        for tag in tags:
            qos._quick_ack(tag)
        qos._flush()  # else they stay in memory until the next message comes
        self.held -= tags

    def _withdraw(self, consumer: Any, messages: set[int]) -> set[str]:
        """Remove messages, by id, from wherever Celery might start them; returns the tags of those that were there."""
        found: set[str] = set()

        def gone(request: Any) -> bool:
            message: Any = getattr(request, "message", None)
            if id(message) not in messages:
                return False
            found.add(message.delivery_tag)
            return True

        for item, entry in eta_entries(consumer.timer):
            if gone(entry.args[0]):
                consumer.timer.cancel(item if hasattr(item, "entry") and hasattr(item, "cancel") else entry)
                consumer.qos.decrement_eventually()
                forget_request(entry.args[0])
                entry.args = ()  # a canceled entry stays in the timer until its time, and the message with it
        for bucket in consumer.task_buckets.values():
            if bucket is not None and bucket.contents:
                kept = [item for item in bucket.contents if not gone(item[0])]
                bucket.contents.clear()
                bucket.contents.extend(kept)
        semaphore = getattr(self._worker.raw, "semaphore", None)
        if semaphore is not None and semaphore._waiting:
            waiting = [item for item in semaphore._waiting if not (item[1] and gone(item[1][0]))]
            semaphore._waiting.clear()
            semaphore._waiting.extend(waiting)
        for request in reserved_requests():
            tag = request.message.delivery_tag
            if id(request.message) in messages and tag in found | self.held | self.at_gate:
                found.add(tag)
                forget_request(request)
        return found


def entry_of(message: Any) -> str:
    """The entry of an unacked hash that kombu made of a message when it was delivered (QoS.append)."""
    info = message.delivery_info
    return str(dumps([message._raw, info["exchange"], info["routing_key"]]))
