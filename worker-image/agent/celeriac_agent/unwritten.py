"""What Redis has refused to write down: messages that are off their list, acknowledgements, messages that go back.

kombu takes a message off a list and then writes it into the unacked hash. Where Redis refuses that, plain Celery ends
over the error, and the message is in no key any more. Here it stays in hand until it is written, and starts then.
"""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import redis
from kombu.transport import virtual
from kombu.utils.json import dumps

from .celery_worker import CeleryWorker
from .channel import TaskChannel
from .full_redis import is_full, keep, keep_when_full, remove
from .inflight import Moved
from .refusals import ACKNOWLEDGE, ELSEWHERE, TAKE, Refusals, code_of, fetch_unless_refused, lost_to, passes
from .registry import Registry
from .slots import Slots

LOST = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)
LOOP_SECONDS = 1.0  # the worker's loop does nothing else for so long
END_SECONDS = 1.0  # between two tries of a worker that has nothing else to do any more


class Taken(NamedTuple):
    """A message that is off its list: as kombu decoded it, its queue, and its entry for the unacked hash."""

    message: dict[str, Any]
    queue: str
    entry: str


class InHand(Exception):
    """The message stays in hand: nothing here is to handle it now."""


class Unwritten:
    """Keeps it, and tries again."""

    def __init__(self, worker: CeleryWorker, slots: Slots, registry: Registry, refusals: Refusals) -> None:
        self._worker, self._slots = worker, slots
        self._registry, self._refusals = registry, refusals
        self._taken: dict[str, Taken] = {}  # by tag
        self._written: dict[str, Taken] = {}  # these are handed over when the loop turns
        self._acknowledged: dict[str, None] = {}  # tags, in the order of their acknowledgement
        self._rejected: dict[str, None] = {}  # tags of messages that go back to their queue
        self._minded: weakref.WeakSet[Any] = weakref.WeakSet()  # kombu channels
        self._coming: str | None = None  # the queue of the message that is being delivered
        self._deliver: Callable[[dict[str, Any], str], Any] | None = None  # kombu's, of the latest connection

    def in_hand(self) -> int:
        """How many messages are off their list and not with Celery."""
        return len(self._taken) + len(self._written)

    def settled(self) -> None:
        """Redis writes: what was refused before is not refused any more, unless something waits still."""
        if not self.waits():
            self._refusals.over(TAKE)
            self._refusals.over(ACKNOWLEDGE)

    def waits(self) -> bool:
        """Whether anything waits for Redis to write it."""
        return bool(self._taken or self._written or self._acknowledged or self._rejected)

    def answered(self) -> set[str]:
        """Tags of messages in the hash that are not to be put back: they are acknowledged, or go to Celery."""
        return {*self._acknowledged, *self._written}

    # -- what is overridden

    def take_over(self, channel: TaskChannel) -> None:
        """Override what the channels of a connection do with an error of Redis."""
        self._mind_channels(channel)
        transport = channel.raw.connection
        deliver = transport._deliver

        def _deliver(message: dict[str, Any], queue: str) -> Any:
            self._coming = queue
            try:
                return deliver(message, queue)
            except InHand:
                return None
            except redis.exceptions.ResponseError as error:
                if not self._put_aside(channel, Taken(message, queue, ""), error):
                    raise
                return None
            finally:
                self._coming = None

        self._deliver = transport._deliver = _deliver

    def _put_aside(self, channel: TaskChannel, written: Taken, error: Exception) -> bool:
        """Keep a message that is written down for another try, where what Celery did with it was refused."""
        tag = written.message["properties"]["delivery_tag"]
        holding = [raw.qos for raw in channel.siblings() if tag in raw.qos._delivered and tag not in raw.qos._dirty]
        begun = self._slots.tags() | self._slots.waiting() | self._slots.unanswered.keys()
        if not passes(error) or not holding or tag in begun:
            return False
        for qos in holding:
            del qos._delivered[tag]
        self._written[tag] = written
        self._refusals.note(TAKE, error)
        self._refusals.wait()
        return True

    def _mind_channels(self, channel: TaskChannel) -> None:
        for raw in channel.siblings():
            if raw not in self._minded:
                self._minded.add(raw)
                self._mind(raw.qos)
                fetch_unless_refused(raw, self._refusals, self.waits)

    def _mind(self, qos: Any) -> None:
        append, ack, reject = qos.append, qos.ack, qos.reject

        def append_or_keep(message: Any, tag: str) -> Any:
            if self._written.pop(tag, None) is not None:
                return virtual.QoS.append(qos, message, tag)
            try:
                return append(message, tag)
            except LOST:
                self._take(message, tag)
                raise
            except redis.exceptions.ResponseError as error:
                taken = self._take(message, tag)
                self._refusals.note(TAKE, error)
                if is_full(error) and _succeeds(self._keep_when_full, tag, taken):
                    return virtual.QoS.append(qos, message, tag)
                self._refusals.wait()
                raise lost_to(error) or InHand() from None

        def ack_or_owe(tag: str) -> Any:
            try:
                return ack(tag)
            except redis.exceptions.ResponseError as error:
                return owe(self._acknowledged, tag, error)

        def reject_or_owe(tag: str, requeue: bool = False) -> Any:
            try:
                return reject(tag, requeue=requeue)
            except redis.exceptions.ResponseError as error:
                return owe(self._rejected if requeue else self._acknowledged, tag, error)

        def owe(owed: dict[str, None], tag: str, error: BaseException) -> Any:
            self._refusals.note(ACKNOWLEDGE, error)
            if owed is self._rejected or not is_full(error) or not _succeeds(self._remove, tag):
                owed[tag] = None
            return qos._quick_ack(tag)

        qos.append, qos.ack, qos.reject = append_or_keep, ack_or_owe, reject_or_owe

    def _take(self, message: Any, tag: str) -> Taken:
        info = message.delivery_info
        entry = dumps([message._raw, info["exchange"], info["routing_key"]])
        taken = self._taken[tag] = Taken(message._raw, self._coming or "", entry)
        return taken

    def _keep_when_full(self, tag: str, taken: Taken) -> None:
        keep_when_full(self._registry.client, *self._keys(), tag, taken.entry)
        del self._taken[tag]

    # -- trying again

    def step(self, channel: TaskChannel) -> None:
        """Called by the worker's loop, five times a second. Raises redis-py's errors of the connection."""
        if self._deliver is None:
            return  # nothing is overridden
        self._mind_channels(channel)  # an application's steps may have opened more of them
        if self.waits() and self._refusals.is_time() and self.write_down() and self._written:
            channel.consumer.call_soon(self._hand_over)

    def write_down(self) -> bool:
        """Write what waits, each as often as need be; whether Redis has taken all of it."""
        try:
            for tag, taken in list(self._taken.items()):
                keep(self._registry.client, *self._keys(), tag, taken.entry)
                self._written[tag] = self._taken.pop(tag)
            for tag in list(self._acknowledged):
                self._remove(tag)
                self._acknowledged.pop(tag, None)
            for tag in list(self._rejected):
                self._registry.own.restore(died=tag in self._slots.lost, only={tag})
                self._rejected.pop(tag, None)
        except redis.exceptions.ResponseError as error:
            self._refusals.note(TAKE if self._taken else ACKNOWLEDGE, error)
            self._refusals.wait()
            if code_of(error) in ELSEWHERE:
                self._registry.dial_anew()
            return False
        except LOST:
            self._refusals.wait()
            raise
        self.settled()
        return True

    def _keys(self) -> tuple[str, str]:
        keys = self._registry.settings.keys
        return keys.prefix + keys.unacked, keys.prefix + keys.index

    def _remove(self, tag: str) -> None:
        remove(self._registry.client, *self._keys(), tag)

    def _hand_over(self) -> None:
        """Deliver what is written down now; what was put back meanwhile is not here any more."""
        for tag, taken in list(self._written.items()):
            if tag in self._written and self._deliver is not None:
                self._deliver(taken.message, taken.queue)
                if self._written.get(tag) is taken:  # who consumes without acknowledgement keeps nothing
                    del self._written[tag]

    def put_back(self) -> None:
        """Write what waits, and put messages back into their queues. Raises redis-py's errors of the connection."""
        if self.write_down() and self._written:
            moved = Moved()
            self._registry.own.give_back(list(self._written)[::-1], moved, until=time.monotonic() + LOOP_SECONDS)
            self._written.clear()

    def end(self) -> None:
        """Put back what waits, for as long as the worker may live: nobody else has these messages."""
        while self.waits():
            with contextlib.suppress(redis.exceptions.RedisError):
                self.put_back()
            self._refusals.tell()
            if not self.waits() or self._worker.is_told_to_end_at_once():
                return
            time.sleep(END_SECONDS)


def _succeeds(write: Callable[..., None], *args: Any) -> bool:
    try:
        write(*args)
    except redis.exceptions.RedisError:
        return False
    return True
