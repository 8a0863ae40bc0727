"""The channel from which one connection's task consumer gets its messages."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from queue import Empty
from typing import Any

import redis

from .times import SOCKET_SECONDS

BRPOP_SECONDS = 1  # before kombu 5.6 no application can change it


class TaskChannel:
    """A consumer of Celery's, with its kombu channel and that channel's QoS."""

    def __init__(self, consumer: Any) -> None:
        self.consumer = consumer
        self.raw = consumer.task_consumer.channel
        self.qos = self.raw.qos

    def siblings(self) -> list[Any]:
        """All kombu channels of the connection: this one, and those of an application's own consumers."""
        transport = self.raw.connection  # None once the connection is lost: green pools' timers go on meanwhile
        return [] if transport is None else list(transport.channels)

    def options(self, names: Iterable[str]) -> dict[str, Any]:
        """Transport options as the channel has them, from wherever they came."""
        return {name: getattr(self.raw, name, None) for name in names}

    def set_options(self, options: Mapping[str, Any]) -> None:
        """Change options of the connection's channels, and of those that are yet to be made."""
        connection = self.raw.connection.client
        connection.transport_options = {**connection.transport_options, **options}
        for raw in self.siblings():
            for name, value in options.items():
                setattr(raw, name, value)
                raw.qos.__dict__.pop(name, None)  # it remembers what it has once read

    def uses(self, options: Mapping[str, Any]) -> bool:
        """Whether what keeps the messages in flight really has these options; without emulation nothing does."""
        return all(getattr(self.qos, name, None) == value for name, value in options.items())

    def keeps_messages(self) -> bool:
        """Whether Redis keeps what this worker holds; with `ack_emulation` off it knows nothing of a delivered one."""
        return all(raw.ack_emulation for raw in self.siblings())

    def polling(self) -> bool:
        """Whether a BRPOP is pending, on any channel: its reply may hold a message that is in no list any more."""
        return any(raw._in_poll for raw in self.siblings())

    def read_pending(self, seconds: float) -> None:
        """Wait for the reply of a pending BRPOP, and take what is in it; leave one that takes longer to kombu."""
        raw, longest = self.raw, getattr(self.raw, "brpop_timeout", BRPOP_SECONDS)
        if not raw._in_poll or longest > seconds:
            return
        if raw.client.connection.can_read(timeout=longest + SOCKET_SECONDS):
            with contextlib.suppress(Empty):
                raw._brpop_read()


def client_of(channel: TaskChannel) -> Any:
    """A Redis client with the address and credentials of a channel, by kombu's own means, and short timeouts.

    TLS, ACL users, Sentinel and unix sockets come with it. It has connections of its own.
    """
    raw = channel.raw
    saved = {name: getattr(raw, name, None) for name in ("socket_timeout", "socket_connect_timeout")}
    manager = getattr(raw, "_sentinel_manager", None)
    try:
        for name in saved:
            setattr(raw, name, SOCKET_SECONDS)
        return redis.Redis(connection_pool=raw._get_pool(asynchronous=False))
    finally:
        for name, value in saved.items():
            setattr(raw, name, value)
        if manager is not None:
            raw._sentinel_manager = manager
