"""Stamps each message with the queue it comes from, and lets kombu put it back there."""

from __future__ import annotations

import uuid
from typing import Any

from .channel import TaskChannel
from .counters import Counters
from .messages import QUEUE_STAMP, Place, delivery_info, mark_redelivered, place
from .settings import TransportSettings
from .slots import Slots


class Deliveries:
    """What is overridden on each connection's channel, so that its messages can be put back where they came from."""

    def __init__(self, settings: TransportSettings, max_attempts: int, slots: Slots, counters: Counters) -> None:
        self._settings, self._max_attempts = settings, max_attempts
        self._slots, self._counters = slots, counters

    def take_over(self, channel: TaskChannel) -> None:
        """Install the overrides."""
        self._stamp(channel)
        self._restore_by_stamp(channel)

    def _stamp(self, channel: TaskChannel) -> None:
        transport = channel.raw.connection
        deliver = transport._deliver

        def _deliver(message: dict[str, Any], queue: str) -> Any:
            self._counters.delivered += 1
            try:
                info = delivery_info(message)
                broadcast = any(queue in raw.active_fanout_queues for raw in channel.siblings())
                info[QUEUE_STAMP] = "" if broadcast else queue
                if info.get("exchange"):
                    # An exchange copies a message to several queues with its tag. A worker that consumes from two of
                    # them would hold one of the copies only, and acknowledge both at once.
                    message["properties"]["delivery_tag"] = str(uuid.uuid4())
                self._slots.lost.discard(message["properties"]["delivery_tag"])
            except Exception as error:
                self._counters.failed("stamp", error)
            return deliver(message, queue)

        transport._deliver = _deliver

    def _restore_by_stamp(self, channel: TaskChannel) -> None:
        raw, qos = channel.raw, channel.qos
        original = raw._do_restore_message

        def _do_restore_message(
            payload: Any, exchange: Any, routing_key: Any, pipe: Any, leftmost: bool = False
        ) -> Any:
            try:
                target = self._place_of(payload)
            except Exception as error:
                self._counters.failed("restore", error)
                target = None
            if target is None:
                return original(payload, exchange, routing_key, pipe, leftmost)
            if target.key is not None:
                (pipe.lpush if leftmost or target.dead else pipe.rpush)(target.key, target.payload)
            return None

        def restore_unacked(client: Any = None) -> None:
            for tag in reversed(list(qos._delivered)):  # kombu's own begins with the oldest, which reverses them
                qos.restore_by_tag(tag, client=client)
            qos._delivered.clear()

        raw._do_restore_message = _do_restore_message
        qos.restore_unacked = restore_unacked

    def _place_of(self, payload: dict[str, Any]) -> Place | None:
        queue = delivery_info(payload).get(QUEUE_STAMP)
        if not isinstance(queue, str):
            return None
        # kombu may ask again for the same message when its transaction is repeated: the tag stays among the lost.
        lost = payload["properties"].get("delivery_tag") in self._slots.lost
        mark_redelivered(payload)
        target = place(payload, queue, self._settings.keys, died=lost, max_attempts=self._max_attempts)
        self._counters.dead += target.dead
        return target
