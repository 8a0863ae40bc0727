"""Lets a worker notice that Redis has fallen silent: a connection that a NAT forgot or a proxy keeps open is no error.

Celery waits for a reply without end. Before kombu 5.7 a worker whose connection was dropped without a word never takes
another task; one that writes to such a connection waits until the kernel gives up, which is a quarter of an hour.
"""

from __future__ import annotations

import contextlib
import select
import socket
import weakref
from typing import Any

import redis
from celery.utils.log import get_logger

from .channel import TaskChannel
from .times import TICK_SECONDS

logger = get_logger("celeriac")

SILENT_SECONDS = 30.0
REPLY_SECONDS = 15.0
UNREAD_SECONDS = 2.0  # a reply that has come is read at the loop's next turn
KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": int(SILENT_SECONDS * 1000)}
"""Seconds and probes; the last is milliseconds, for what was sent and is not confirmed. Linux has all of them."""


def limit_silence() -> None:
    """Give all of kombu's connections in this process an end to their patience, where nobody has chosen one.

    They are defaults of kombu's channels, below any transport option. The worker's other connections need them as well:
    its loop waits for the reply to an event as long as for a message.
    """
    from kombu.transport.redis import Channel

    chosen = {
        "socket_timeout": REPLY_SECONDS,
        "socket_keepalive": True,
        "socket_keepalive_options": _keepalive_options(),
    }
    for name, value in chosen.items():
        if getattr(Channel, name, value) is None:
            setattr(Channel, name, value)


def _keepalive_options() -> dict[int, int]:
    """What the kernel takes: an option that it refuses would fail every connection."""
    taken = {}
    with socket.socket() as probe:
        for name, value in KEEPALIVE.items():
            with contextlib.suppress(AttributeError, OSError):
                probe.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
                taken[getattr(socket, name)] = value
    return taken


class OverdueReplies:
    """Ends a connection whose BRPOP has no reply long after the second that Redis may take for it.

    What counts is turns of the worker's loop, so that one that a task has blocked does not end a good connection. A
    reply that has come and is not read is overdue sooner: before kombu 5.7 a connection that is made anew at the second
    try may not be polled, and the worker would never take another task.
    """

    def __init__(self) -> None:
        self._turns: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()  # by kombu channel
        self._unread: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

    def watch(self, channel: TaskChannel) -> None:
        """Begin to count anew with each request of a connection's channels."""
        for raw in channel.siblings():
            if raw not in self._turns:
                self._turns[raw] = 0
                self._watch(raw)

    def _watch(self, raw: Any) -> None:
        start = raw._brpop_start

        def _brpop_start(*args: Any, **kwargs: Any) -> Any:
            self._turns[raw] = 0
            return start(*args, **kwargs)

        raw._brpop_start = _brpop_start

    def step(self, channel: TaskChannel, *, reads_at_once: bool = False) -> None:
        """Called by the worker's loop, five times a second; it will find a connection as if Redis had ended it.

        `reads_at_once`: the task consumer's channel reads a reply whether there is room or not (see fetch_by_need).
        """
        if reads_at_once and channel.consumer.hub is not None:  # where there is no hub, two may not wait for one socket
            self._look_for_unread(channel)
        for raw in channel.siblings():
            pending = raw._in_poll
            if not pending or raw not in self._turns:
                continue
            self._turns[raw] += 1
            if self._turns[raw] * TICK_SECONDS >= SILENT_SECONDS:
                self._turns[raw] = 0
                _end(pending)

    def _look_for_unread(self, channel: TaskChannel) -> None:
        raw, pending = channel.raw, channel.raw._in_poll
        self._unread[raw] = self._unread.get(raw, 0) + 1 if pending and _has_come(pending) else 0
        if self._unread[raw] * TICK_SECONDS >= UNREAD_SECONDS:
            self._unread[raw] = 0
            channel.consumer.call_soon(_lose)


def _has_come(connection: Any) -> bool:
    """Whether something can be read on a connection, or its end."""
    try:
        return bool(select.select([connection._sock], [], [], 0)[0])
    except (AttributeError, TypeError, ValueError, OSError):
        return False


def _lose() -> None:
    """Raise what makes Celery connect again."""
    raise redis.exceptions.ConnectionError("a reply of Redis was not read")


def _end(connection: Any) -> None:
    logger.warning("Redis has not answered for %.0f s: the connection is given up", SILENT_SECONDS)
    with contextlib.suppress(AttributeError, OSError):
        connection._sock.shutdown(socket.SHUT_RDWR)
