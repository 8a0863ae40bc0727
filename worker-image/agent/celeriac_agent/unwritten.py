"""What Redis has refused to write down: messages that are off their list, acknowledgements, messages that go back.

kombu takes a message off a list and then writes it into the unacked hash. Where Redis refuses that, plain Celery ends
over the error, and the message is in no key any more. Here it stays in hand until it is written, and starts then.
"""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Callable
from queue import Empty
from typing import Any, NamedTuple

import redis
from kombu.transport import virtual
from kombu.utils.json import dumps

from .celery_worker import CeleryWorker
from .channel import TaskChannel
from .full_redis import is_full, keep, keep_when_full
from .inflight import Moved
from .refusals import ACKNOWLEDGE, ELSEWHERE, FETCH, TAKE, Refusals, code_of
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
        deliver = self._deliver = transport._deliver

        def _deliver(message: dict[str, Any], queue: str) -> Any:
            self._coming = queue
            try:
                return deliver(message, queue)
            except InHand:
                return None
            finally:
                self._coming = None

        transport._deliver = _deliver

    def _mind_channels(self, channel: TaskChannel) -> None:
        for raw in channel.siblings():
            if raw not in self._minded:
                self._minded.add(raw)
                self._mind(raw.qos)
                self._mind_fetching(raw)

    def _mind_fetching(self, raw: Any) -> None:
        """Fetch nothing while something waits; an error is no message, unless another server is the master now."""
        read, start = raw._brpop_read, raw._brpop_start

        def _brpop_read(**options: Any) -> Any:
            try:
                result = read(**options)
            except redis.exceptions.ResponseError as error:
                self._refusals.note(FETCH, error)
                self._refusals.wait()
                raise lost_to(error) or Empty() from None
            self._refusals.over(FETCH)
            return result

        def _brpop_start(*args: Any, **kwargs: Any) -> Any:
            return None if self.waits() or not self._refusals.is_time() else start(*args, **kwargs)

        raw._brpop_read = raw.handlers["BRPOP"] = _brpop_read
        raw._brpop_start = _brpop_start

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
        """Acknowledge; without MULTI, in which a full Redis refuses every command."""
        unacked, index = self._keys()
        with self._registry.client.pipeline(transaction=False) as pipe:
            pipe.zrem(index, tag)
            pipe.hdel(unacked, tag)
            pipe.execute()

    def _hand_over(self) -> None:
        """Deliver what is written down now; what was put back meanwhile is not here any more."""
        for tag, taken in list(self._written.items()):
            if tag in self._written and self._deliver is not None:
                self._coming = taken.queue
                self._deliver(taken.message, taken.queue)
                self._written.pop(tag, None)

    def restored(self) -> None:
        """What is written down was put back into its queue with all that is in the hash, and is not handed over."""
        self._written.clear()

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


def lost_to(error: BaseException) -> Exception | None:
    """The loss of the connection that an error of Redis amounts to: its server does not write, and another does."""
    if code_of(error) not in ELSEWHERE:
        return None
    return redis.exceptions.ConnectionError(f"Redis is not the master any more ({code_of(error)})")
